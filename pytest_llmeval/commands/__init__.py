"""The command lines beside pytest."""
