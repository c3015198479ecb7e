"""Child processes of the gateway and the message channel between them."""
