"""What the gateway knows of nSelf: chunks of text in TOML, without code."""
