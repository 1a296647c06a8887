"""What sends load where wrk cannot: handshakes and WebSocket messages, from one core."""
