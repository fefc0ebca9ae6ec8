"""The OpenAI-compatible front door: one address for all instances, which are started on demand."""
