"""The backends that this process serves."""
