"""What the market did: instruments, the bar store, replay as a live feed."""
