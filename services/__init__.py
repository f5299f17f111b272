"""The engines, a row for each stage, and what serves them."""
