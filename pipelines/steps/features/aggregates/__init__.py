"""Aggregates over the events of an entity as they were known at a moment: exact, and the same in any order of rows."""
