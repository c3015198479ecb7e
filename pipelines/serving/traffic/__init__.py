"""Champion, candidate and shadow of one worker: who answers which request, and what is counted."""
