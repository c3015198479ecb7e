"""Decisions: small facts in, a verdict or another judgement out; no I/O, no data library."""
