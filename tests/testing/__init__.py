"""Tests of what programs test themselves with."""
