"""The gateway's knowledge of nSelf: chunks of text in TOML, without code."""
