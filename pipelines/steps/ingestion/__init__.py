"""How a delivered file is read and held to its contract."""
