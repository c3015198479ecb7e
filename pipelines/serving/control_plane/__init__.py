"""What changes is live: supervisor, state, releases, rollouts, guard, admin listener."""
