"""What only the operator of an installation does: system prompts, and a look at all of it."""
