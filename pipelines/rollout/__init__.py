"""A rollout as pure data: plan, transitions, state, analysis and verdict."""
