"""Declarations written by hand for files that locked packages ship, and how many of their lines `adopt` drafts."""
