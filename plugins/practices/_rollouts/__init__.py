"""One rollout at its target: its operator's parents, its trigger, its analysis and its aliases."""
