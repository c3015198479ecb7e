"""The HTTP server of both listeners, and the limits of a connection."""
