"""Settings that hold for every test."""

from hypothesis import settings

# The first call of a kernel compiles it, so one example may take long; and a failure must come again.
settings.register_profile("tocsin", deadline=None, derandomize=True)
settings.load_profile("tocsin")
