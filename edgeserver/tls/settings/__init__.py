"""TLS settings: `ssl_options`, checked."""
