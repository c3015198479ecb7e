"""How a training table is split, frozen and named by its content."""
