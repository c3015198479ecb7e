"""The best practices: one operator a file; folders hold what operators share."""
