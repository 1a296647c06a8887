"""An open TLS connection: its transport, and what is known of it."""
