"""OpenAI's Responses API, as chat requests are sent over it."""
