"""Tests of the room of operators."""
