"""What a run runs on: the facts worth recording, and whether a model fits into memory."""
