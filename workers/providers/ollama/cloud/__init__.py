"""Models that an Ollama has run elsewhere: no local ones, though they are in its list."""
