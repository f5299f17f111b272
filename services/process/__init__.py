"""Engines and servers in child processes."""
