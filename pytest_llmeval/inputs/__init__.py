"""What is asked: the config, the suites, their items and their prompts, read and checked.

Everything the user writes passes through this room, and every mistake in it is told here: file and
line, what was found, what is allowed, and the nearest match.
"""
