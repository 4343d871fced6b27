"""The sinks: where findings are delivered. One file each; `build.py` makes them from settings."""
