"""What tocsin serves over HTTP."""
