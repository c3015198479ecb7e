"""Evidence that may be looked at any time: e-values, differences, sample sizes."""
