"""What a rollout's steps share: its design, its log and its pictures."""
