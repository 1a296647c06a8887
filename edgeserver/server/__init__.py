"""What `HTTPServer` is put together from: arguments, protocol stack, TLS, redirects."""
