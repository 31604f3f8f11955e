"""Which part of the gateway uses the CPU."""
