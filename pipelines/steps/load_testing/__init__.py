"""How a candidate is asked at a rate, what that shows, and its picture."""
