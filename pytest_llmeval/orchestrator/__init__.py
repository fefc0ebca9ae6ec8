"""Many model servers of one machine, kept running for long: what `llama-orch` is made of."""
