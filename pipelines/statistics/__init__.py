"""Evidence that may be looked at any time: e-values, differences of means and rates, sample sizes."""
