"""What the measures of a rollout share: its design, its log and its pictures."""
