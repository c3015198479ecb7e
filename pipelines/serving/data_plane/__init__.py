"""The data plane that callers reach, in every worker: authentication, rate limits and inference."""
