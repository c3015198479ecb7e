"""Features of a view from its declaration, each as known at its prediction time."""
