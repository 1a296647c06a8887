"""Tests of the types that programs see: what type checkers accept, and what they refuse."""
