"""How `MODULE:ATTR` becomes an object, and what is said when it does not."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.runtime.exits import StartError
from edgeserver.runtime.loading import describe_startup, load_application

FILES = {
    "good_app.py": "def app(request): pass\nclass Holder: inner = app\n",
    "raising_app.py": "def deeper():\n    raise ValueError('no\\x1b[31m\\n data')\n\n\ndeeper()",
    "syntax_app.py": "x = 1\ndef app(:\n",
    "importing_app.py": "\nimport no_such_library_at_all\n",
    "library_app.py": "import json\n\njson.loads('{')\n",
    "exiting_app.py": "import sys\nsys.exit('leaving')\n",
    "factory_app.py": (
        "def make(): return 'made'\n"
        "def broken():\n    raise KeyError('SECRET_KEY')\n"
        "async def later(): return 'made'\n"
        "nothing = None\n"
    ),
    "lazy_app.py": "def __getattr__(name):\n    raise RuntimeError('lazily')\n",
}


@pytest.fixture
def app_dir(tmp_path: Path) -> Iterator[Path]:
    """Give a directory of applications, and forget them afterwards."""
    for name, source in FILES.items():
        (tmp_path / name).write_text(source)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "name"),
    [("good_app:app", "app"), ("good_app:Holder.inner", "app")],
    ids=["attribute", "dotted"],
)
def test_found(app_dir: Path, target: str, name: str) -> None:
    """An attribute is found in a module of the application's directory."""
    app = load_application(target, app_dir=str(app_dir))
    assert getattr(app, "__name__", None) == name


def test_factory(app_dir: Path) -> None:
    """A factory is called once and gives the application."""
    assert load_application("factory_app:make", app_dir=str(app_dir), factory=True) == "made"


REFUSED = [
    pytest.param("", False, ConfigurationError, "name is empty; write", id="empty"),
    pytest.param("edge.toml", False, ConfigurationError, "write --config edge.toml", id="toml"),
    pytest.param("good_app", False, ConfigurationError, "names no attribute", id="no-colon"),
    pytest.param("good_app.py:app", False, ConfigurationError, "write good_app:app", id="file"),
    pytest.param("./a/b.py", False, ConfigurationError, "write a.b:app", id="path"),
    pytest.param("good_app:", False, ConfigurationError, "MODULE:ATTR", id="empty-attribute"),
    pytest.param(":app", False, ConfigurationError, "MODULE:ATTR", id="empty-module"),
    pytest.param("good app:app", False, ConfigurationError, "MODULE:ATTR", id="space"),
    pytest.param("god_app:app", False, ConfigurationError, "did you mean good_app?", id="typo"),
    pytest.param(
        "good_app.sub:app", False, ConfigurationError, "no module good_app.sub", id="not-a-package"
    ),
    pytest.param("good_app:ap", False, ConfigurationError, "did you mean app?", id="attribute"),
    pytest.param(
        "factory_app:nothing", True, ConfigurationError, "cannot be called", id="factory-none"
    ),
    pytest.param(
        "good_app:app", True, ConfigurationError, "leave out --factory", id="factory-application"
    ),
    pytest.param(
        "factory_app:later", True, ConfigurationError, "coroutine function", id="factory-async"
    ),
    pytest.param(
        "raising_app:app",
        False,
        StartError,
        r"ValueError: no\x1b[31m data at {dir}/raising_app.py:2;",
        id="raises",
    ),
    pytest.param("syntax_app:app", False, StartError, "{dir}/syntax_app.py:2;", id="syntax"),
    pytest.param(
        "importing_app:app",
        False,
        StartError,
        "No module named 'no_such_library_at_all' at {dir}/importing_app.py:2;",
        id="import-inside",
    ),
    pytest.param(
        "library_app:app", False, StartError, "at {dir}/library_app.py:3;", id="raises-in-library"
    ),
    pytest.param("exiting_app:app", False, StartError, "ended the process", id="exits"),
    pytest.param(
        "factory_app:broken",
        True,
        StartError,
        "KeyError: 'SECRET_KEY' at {dir}/factory_app.py:3;",
        id="factory-raises",
    ),
    pytest.param("lazy_app:app", False, StartError, "lazily", id="module-getattr-raises"),
]


@pytest.mark.parametrize(("target", "factory", "error", "part"), REFUSED)
def test_refused(
    app_dir: Path, target: str, factory: bool, error: type[EdgeServerError], part: str
) -> None:
    """What cannot be loaded is one printable line that says what, where and the fix."""
    with pytest.raises(error) as caught:
        load_application(target, app_dir=str(app_dir), factory=factory)
    message = str(caught.value)
    assert part.format(dir=app_dir.resolve()) in message
    assert message.isprintable()


def test_missing_directory(tmp_path: Path) -> None:
    """An application directory that does not exist is named."""
    with pytest.raises(ConfigurationError, match="is not a directory"):
        load_application("a:b", app_dir=str(tmp_path / "absent"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("locked", ["", "good_app.py"], ids=["directory", "module"])
def test_what_may_not_be_read(app_dir: Path, locked: str) -> None:
    """The path and the user are named, and no line of Python's own library."""
    path = app_dir / locked
    path.chmod(0)
    try:
        with pytest.raises(ConfigurationError, match="may not be read by this user") as caught:
            load_application("good_app:app", app_dir=str(app_dir))
        assert str(path) in str(caught.value)
    finally:
        path.chmod(0o700)


TRACED = """Traceback (most recent call last):
  File "{library}/contextlib.py", line 210, in __aenter__
    return await anext(self.gen)
  File "/srv/app/\x1b[31mshop.py", line 7, in lifespan
    connect()
  File "{library}/socket.py", line 3, in connect
    raise error
RuntimeError: no database
"""


def test_a_startup_that_fails_with_a_traceback() -> None:
    """What a framework reports as one is one line: whose startup, what, and at which line."""
    text = TRACED.format(library=sysconfig.get_path("stdlib"))
    assert describe_startup("shop:app", StartError(text)) == (
        r"the startup of shop:app failed with RuntimeError: no database at"
        r" /srv/app/\x1b[31mshop.py:7; --debug shows the traceback"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("no database", "no database"), ("", "StartError"), ("one\n\x1btwo\n\n", r"\x1btwo")],
    ids=["words", "nothing", "lines"],
)
def test_a_startup_that_fails_with_words(text: str, said: str) -> None:
    """An application's own words are said as they are, on one line."""
    assert describe_startup("shop:app", StartError(text)) == (
        f"the startup of shop:app failed: {said}"
    )
