"""How fast the service is, measured on the real servers."""
