"""Features of a view are computed from its declarations alone, each as known at its prediction time."""
