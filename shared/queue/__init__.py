"""The queue: arq's format, our own placement."""
