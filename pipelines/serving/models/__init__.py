"""What a model answers: bundles, predictors, the two protocols, their OpenAPI page and the response cache."""
