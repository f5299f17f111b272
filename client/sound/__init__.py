"""Microphones and speakers, real ones and files."""
