"""What decides about live versions: supervisor, state, releases, rollouts, guard, admin listener."""
