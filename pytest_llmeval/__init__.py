"""Evaluate language models that run on your own machine, as pytest tests.

Importing this package costs nothing: every part is imported where it is used.
"""

__version__ = "0.1.0"
