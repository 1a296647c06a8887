"""edgeserver: the Python HTTP server for the edge."""
