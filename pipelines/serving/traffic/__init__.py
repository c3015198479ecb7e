"""Traffic of a rollout: which version answers a request, which requests are mirrored, and the counts of both."""
