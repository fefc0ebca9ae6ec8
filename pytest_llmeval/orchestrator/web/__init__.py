"""The instances over HTTP: an interface for programs, and the page for people."""
