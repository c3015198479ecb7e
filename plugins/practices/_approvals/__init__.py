"""Approval requests: the facts of their form, and who may answer."""
