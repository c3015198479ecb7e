"""Drift is measured from saved profiles alone, so a decision costs the same whatever the number of rows."""
