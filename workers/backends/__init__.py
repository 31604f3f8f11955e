"""What this process serves."""
