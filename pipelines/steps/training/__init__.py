"""How a model is fitted, resumed, recorded and registered, one idea per file."""
