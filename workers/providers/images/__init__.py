"""Images that clients name by address."""
