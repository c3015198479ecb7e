"""Deployment targets on a cluster: HTTPRoute and InferenceService."""
