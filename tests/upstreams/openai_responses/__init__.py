"""OpenAI as it is asked over its Responses API: what chat requests become there, and its part of each recording."""
