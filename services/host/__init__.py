"""An engine behind its stage stream."""
