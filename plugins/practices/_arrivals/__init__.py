"""What landed, what is awaited, what was taken, and the triggers that watch for it."""
