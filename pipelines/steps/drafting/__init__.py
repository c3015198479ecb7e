"""Drafts the declarations of files that nobody has declared yet."""
