"""Drift from saved profiles: tests, effect sizes and the report for people."""
