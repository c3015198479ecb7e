"""Requests and results of steps and practices, one file a subject."""
