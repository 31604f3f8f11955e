"""Redis: clients, names and scripts."""
