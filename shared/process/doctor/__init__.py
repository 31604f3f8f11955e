"""The doctor: finds what is wrong with an installation, and how to mend it, for the CLI and the web UI."""
