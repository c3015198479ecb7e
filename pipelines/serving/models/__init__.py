"""Loading and scoring models: bundles, predictors, both inference protocols, the response cache."""
