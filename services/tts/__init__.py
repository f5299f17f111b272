"""Text to speech: one module per engine."""
