"""A rollout as pure data: its plan, transitions and state, and the evidence that its counts give."""
