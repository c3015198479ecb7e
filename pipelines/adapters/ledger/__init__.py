"""The ledger in a database of its own."""
