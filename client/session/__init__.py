"""What is kept of a conversation, and its sums."""
