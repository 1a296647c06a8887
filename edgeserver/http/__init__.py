"""What every version of HTTP shares: limits, bodies and the requests of one server."""
