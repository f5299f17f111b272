"""Scale, simulated: what 10 to 1,000,000 turns an hour would wait and cost on Modal."""
