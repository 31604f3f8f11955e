"""The overview: is it well, what was asked and served, what it cost and what it saved."""
