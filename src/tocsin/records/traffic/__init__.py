"""Generated labelled traffic: an office, what its hosts do all week, and attacks planted in it."""
