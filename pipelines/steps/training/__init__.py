"""How a model is fitted, one idea per file; ``train_model`` and ``reproduce_model`` put them together."""
