"""How a registered model becomes a bundle, and how parity with it is measured."""
