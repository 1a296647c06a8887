"""Side-by-side measurements of edgeserver against its peers: `python -m benchmarks --help`."""
