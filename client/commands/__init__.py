"""The commands of `s2s`, one a module."""
