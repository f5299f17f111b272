"""Measurements of a conversation, turn by turn, and their summary."""
