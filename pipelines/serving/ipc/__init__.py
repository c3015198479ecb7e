"""Processes of the gateway and the channel between them."""
