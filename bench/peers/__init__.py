"""Measure other gateways and this one in turn: `python -m bench peers`."""
