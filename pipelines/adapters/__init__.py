"""The real ports: the only modules that reach a service for a port."""
