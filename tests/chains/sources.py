"""Texts in place of files, for readers."""

from __future__ import annotations

import fnmatch
import posixpath
from pathlib import Path

from edgeserver.chains.readers.base import UnreadableFile

__all__ = ["CORPUS", "Disk", "Texts"]

CORPUS = Path(__file__).parent / "corpus"


class Texts:
    """A few files that exist in memory alone."""

    def __init__(self, **files: str) -> None:
        self.files = files

    def read(self, path: str) -> str:
        if path not in self.files:
            raise UnreadableFile(f"{path}: no such file")
        return self.files[path]

    def glob(self, pattern: str) -> list[str]:
        return sorted(fnmatch.filter(self.files, pattern))

    def resolve(self, path: str, base: str) -> str:
        return posixpath.join(posixpath.dirname(base), path)


class Disk:
    """The files of the corpus."""

    def read(self, path: str) -> str:
        return Path(path).read_text("utf-8")

    def glob(self, pattern: str) -> list[str]:
        return sorted(str(path) for path in Path(pattern).parent.glob(Path(pattern).name))

    def resolve(self, path: str, base: str) -> str:
        return str(Path(base).parent / path)
