"""How a verdict is shown at the top of an HTML report."""
