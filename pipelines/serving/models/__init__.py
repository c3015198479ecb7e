"""What a model answers: bundles, predictors, both protocols, the response cache."""
