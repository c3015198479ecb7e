"""The control plane of live versions: supervisor, state, releases, rollouts, guard, admin listener."""
