"""TLS contexts: built, chosen, reloaded."""
