"""The only modules that open a socket, a bucket or a database."""
