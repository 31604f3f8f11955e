"""What Anthropic says on the wire: replies, and its part of each recording."""
