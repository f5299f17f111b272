"""Spoken questions, and the script that makes them."""
