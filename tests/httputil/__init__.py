"""Tests of the waist: one module for each of its modules."""
