"""What an operator does to a server, and what becomes of the requests meanwhile."""
