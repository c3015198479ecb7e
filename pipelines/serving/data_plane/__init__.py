"""What callers reach: authentication, rates, inference, in every worker."""
