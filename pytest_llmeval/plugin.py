"""Pytest's face of the package."""
