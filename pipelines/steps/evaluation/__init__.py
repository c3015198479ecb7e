"""How good a model's answers are, how sure that is, and in which slices they are worse."""
