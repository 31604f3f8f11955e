"""One try at one upstream."""
