"""The HTTP server: limits of a connection, framing, and the two listeners."""
