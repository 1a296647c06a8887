"""Adapters: applications of every kind behind the delegate interface."""
