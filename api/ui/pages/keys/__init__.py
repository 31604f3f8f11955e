"""/ui/keys: the gateway's keys."""
