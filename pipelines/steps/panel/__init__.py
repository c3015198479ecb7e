"""Rows per entity and period, and labels over the time that follows them."""
