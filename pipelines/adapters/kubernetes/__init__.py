"""Deployment targets on a cluster: an HTTPRoute or an InferenceService, their objects, pods and records."""
