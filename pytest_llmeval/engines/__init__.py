"""The code that speaks to endpoints: one engine for each kind."""
