"""The list of best practices: one operator per file."""
