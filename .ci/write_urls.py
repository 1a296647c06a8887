"""Write `[project.urls]` into a pyproject.toml, for wheels that are built where the project lives.

The addresses are those of the repository that builds, which GitHub names in its environment: a copy
of the project elsewhere points to itself, and nothing has to be changed when it moves.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

PAGES = {
    "Homepage": "",
    "Source": "",
    "Documentation": "/tree/{ref}/docs",
    "Changelog": "/blob/{ref}/CHANGELOG.md",
    "Issues": "/issues",
    "Security": "/security/policy",
}


def main() -> None:
    """Read the environment, and change the file that is named."""
    path = Path(sys.argv[1])
    server, repository, ref = (
        os.environ.get(name, "")
        for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_REF_NAME")
    )
    if not (
        re.fullmatch(r"https://[\w.-]+", server, re.ASCII)
        and re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII)
        and re.fullmatch(r"[\w./-]+", ref, re.ASCII)
    ):
        sys.exit(
            "write_urls: GITHUB_SERVER_URL, GITHUB_REPOSITORY and GITHUB_REF_NAME do not name a"
            " repository: this is for the workflows; elsewhere build without it"
        )
    text = path.read_text()
    if "[project.urls]" in text:
        sys.exit(f"write_urls: {path} has [project.urls] already: it was run before")
    base = f"{server}/{repository}"
    lines = [f'{name} = "{base}{page.format(ref=ref)}"' for name, page in PAGES.items()]
    path.write_text(text + "\n[project.urls]\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
