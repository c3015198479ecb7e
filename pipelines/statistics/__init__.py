"""Statistics that may be looked at any time: e-values, intervals of differences, sample sizes."""
