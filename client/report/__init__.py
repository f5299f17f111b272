"""Conversations as a page: plots of where the time went, and tables of the same figures."""
