"""A simulated day of requests through the gateway's own routing decisions."""
