"""The dashboard in the terminal: all instances, each second, and keys to act on them.

`screen.py` is the real one and needs textual; `plain.py` is what is shown without it.
"""
