"""Installing and removing models on Ollama servers."""
