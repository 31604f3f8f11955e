"""Commands that only the operator of an installation uses: system prompts, and a look at all of it."""
