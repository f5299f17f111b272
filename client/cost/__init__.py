"""What a deployment costs on Modal: prices, how long containers live, and the sums."""
