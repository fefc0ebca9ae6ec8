"""Settings of the tests of this room."""

from hypothesis import settings

# A loaded machine is slow, which is no failure: no time limit for an example.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
