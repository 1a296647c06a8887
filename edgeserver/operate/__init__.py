"""The room of operators: what a server has done and how it stands, told to nobody else."""
