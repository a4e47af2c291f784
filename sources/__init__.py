"""What the world said, and when it was known."""
