"""The store of tables and files, in a folder or behind a URL."""
