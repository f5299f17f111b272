"""Turn taking: audio frames in, turns and playable speech out. It knows no device, terminal or socket."""
