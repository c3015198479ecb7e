"""Who answers a request: champion, candidate or shadow, and what is counted."""
