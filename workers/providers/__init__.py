"""Adapters to upstream APIs. See base.py for the protocol they share."""
