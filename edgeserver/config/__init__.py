"""Configuration: what a server can be told, and how each form of it is read."""
