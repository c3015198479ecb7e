"""The embedded gateway as an endpoint and as a deployment target."""
