"""Runs a step in a pod: planned from the declaration, launched once, watched, and judged by its manifest."""
