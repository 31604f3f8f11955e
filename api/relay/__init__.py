"""The receiving side of the relay; workers/relay is its mirror."""
