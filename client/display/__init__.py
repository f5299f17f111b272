"""What a person sees of turns and conversations."""
