"""The installation as its operator sees it: its state, who changed what, its settings, what is wrong with it."""
