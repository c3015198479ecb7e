"""A step in a pod: what the pod runs, its log, the declarations it reads, and the ranks of a shared training."""
