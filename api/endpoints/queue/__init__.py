"""/claw/queue: what waits and runs, where, and what the operator does about it."""
