"""The sending side of the relay; api/relay is its mirror."""
