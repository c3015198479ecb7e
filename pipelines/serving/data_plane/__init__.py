"""What callers reach: authentication, rates and inference, in every worker."""
