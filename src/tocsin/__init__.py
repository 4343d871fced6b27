"""tocsin watches network telemetry, learns what is normal, and says why when something is not."""

__version__ = "0.1.0"
