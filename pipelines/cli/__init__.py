"""The `airworthy` command: its parser, and the commands that are not the demonstration's."""
