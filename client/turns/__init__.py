"""Where turns are played, and how one looks."""
