"""What the gateway adds to a turn, and what a session of it costs: `python -m bench.gateway`."""
