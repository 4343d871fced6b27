"""Categorical novelty: how unusual a combination of values is, given what was seen before, and why.

A context is an independent model of observations, lists of values that belong together. It learns as it observes,
without training and without labels. The equation is in `surprise.py`, the tables in `tables.py`.
"""
