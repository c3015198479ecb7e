"""Channels that reach people: a file, what apprise knows, and an Alertmanager."""
