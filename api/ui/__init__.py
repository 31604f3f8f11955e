"""The web UI. Imported only where it is on."""
