"""Base operators, trigger, analysis and aliases of one rollout at its deployment target."""
