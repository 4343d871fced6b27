"""The detectors, one room each."""
