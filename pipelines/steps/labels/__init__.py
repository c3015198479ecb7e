"""The labels of a view's rows, and when each is known."""
