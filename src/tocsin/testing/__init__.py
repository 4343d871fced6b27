"""In-memory twins of what tocsin works with, for its own tests and for those who extend it."""
