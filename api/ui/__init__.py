"""The web UI: pages that the api renders itself. Imported only where `CLAW_UI` is on."""
