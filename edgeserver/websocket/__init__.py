"""WebSockets: frames and messages on a connection that HTTP has handed over."""
