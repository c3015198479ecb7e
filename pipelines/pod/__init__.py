"""What runs inside a pod: a step, its log, its declarations, a rank of a shared training."""
