"""The turn: three stages, overlapped."""
