"""`nself claw knowledge`: the knowledge base, over the gateway's HTTP API; documents become text here."""
