"""What is wrong with an installation, and how to mend it, as far as its servers tell: for the CLI and the web UI."""
