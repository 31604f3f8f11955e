"""The network under every provider."""
