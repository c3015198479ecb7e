"""What changes is live: the supervisor, its state, releases, rollouts, the guard and the admin listener."""
