"""`python -m edgeserver`: the same command as `edgeserver`.

Decides nothing; it must know only the name of the entry point.
"""

from edgeserver.cli import main

if __name__ == "__main__":
    main()
