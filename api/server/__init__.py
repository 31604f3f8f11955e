"""HTTP on sockets: Hypercorn with its settings, and HTTP/1.1 of our own in front of it."""
