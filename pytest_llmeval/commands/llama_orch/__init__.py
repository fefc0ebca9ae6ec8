"""The command `llama-orch`: keep local model servers running."""
