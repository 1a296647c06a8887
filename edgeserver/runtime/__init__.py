"""Processes: how an application is found, started, served and stopped."""
