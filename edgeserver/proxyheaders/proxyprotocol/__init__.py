"""The PROXY protocol: preludes parsed and written."""
