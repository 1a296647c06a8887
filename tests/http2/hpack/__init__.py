"""Tests of HPACK."""
