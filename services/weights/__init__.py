"""The weights of engines: fetched from a hub, and found again."""
