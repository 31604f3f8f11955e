"""`nself claw chat`: a conversation with a model on a terminal, which the gateway stores as a session."""
