"""Requests and results of steps and practices, one file a subject: ids, URIs and numbers, never tables."""
