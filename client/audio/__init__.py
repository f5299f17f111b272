"""Microphones and speakers, devices and files."""
