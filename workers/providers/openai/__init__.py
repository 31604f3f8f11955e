"""OpenAI's API and whatever is compatible with it."""
