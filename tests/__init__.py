"""The tests; each room's stand in the directory of the same name."""
