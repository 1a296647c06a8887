"""The doctor: what is wrong with files and endpoints, and the fix."""
