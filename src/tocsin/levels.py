"""The log level below debug, for each object and document that is touched."""

TRACE = 5
