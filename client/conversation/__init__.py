"""A spoken conversation: hearing what is said, and answering it."""
