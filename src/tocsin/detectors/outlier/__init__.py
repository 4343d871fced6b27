"""Flows unlike the rest, and hosts unlike the others and unlike themselves."""
