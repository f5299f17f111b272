"""Many turns at once while everything around them breaks, and an exact account of what came of them.

`python -m tests.deployed.chaos --turns 1000 --seed 7`. The seed decides what is asked and what is broken; how
fast it goes, and so which turn meets which trouble, is the machine's business.
"""
