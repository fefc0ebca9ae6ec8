"""Tools that stand between a client and an endpoint, to see or to disturb what passes."""
