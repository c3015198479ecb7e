"""Decisions: small facts in, a Verdict out; no I/O, standard library and pydantic only."""
