"""How a registered model becomes a bundle, one idea per file; ``build_bundle`` puts them together."""
