"""How the features of a view are computed from its declaration, and which days of its sources they read."""
