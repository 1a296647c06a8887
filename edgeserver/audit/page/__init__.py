"""The page of an audit: one file that shows chains, verdicts and findings to people."""
