"""The `airworthy` command: one module a command."""
