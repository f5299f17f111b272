"""Tests of the engines on their real libraries: `python -m tests.engines`."""
