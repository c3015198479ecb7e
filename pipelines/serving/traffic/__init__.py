"""Which version answers a request, what is mirrored, and what is counted."""
