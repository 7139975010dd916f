"""What a check counts, and what it says of it."""
