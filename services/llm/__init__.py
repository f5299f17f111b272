"""Conversation to reply: one module per engine."""
