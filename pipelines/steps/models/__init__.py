"""How a registered model is loaded."""
