"""Compiled loops over arrays. Pure: arrays in, arrays out; no objects, no globals; a seed is an argument."""
