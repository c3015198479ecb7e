"""The `airworthy` command: what a person types."""
