"""Delivered, overdue and processed days of a dataset, and the triggers that watch for them."""
