"""The parents of the operators: how a step is run and how a verdict is recorded."""
