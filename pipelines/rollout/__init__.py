"""A rollout as pure data: its plan, its transitions, its state and how its counts are judged."""
