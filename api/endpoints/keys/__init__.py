"""What is known of a key, for the operator: given out, and taken away."""
