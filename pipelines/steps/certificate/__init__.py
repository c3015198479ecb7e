"""How a certificate is held against the stored bytes."""
