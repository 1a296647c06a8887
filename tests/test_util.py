"""Tests of `edgeserver.util`: the class that picks its implementation."""

import collections.abc
import json.decoder
import sys
from typing import Any

import pytest

from edgeserver.util import Configurable, import_object


class Shape(Configurable):
    """An interface with two implementations."""

    @classmethod
    def configurable_base(cls) -> type[Configurable]:
        """Name the top."""
        return Shape

    @classmethod
    def configurable_default(cls) -> type[Configurable]:
        """Name the default."""
        return Circle


class Circle(Shape):
    """The default implementation."""

    def initialize(self, size: Any = None, *, colour: Any = None) -> None:
        """Keep the arguments."""
        self.size, self.colour = size, colour


class Square(Shape):
    """The other implementation."""

    def initialize(self, size: Any = None, *, edge: Any = None) -> None:
        """Keep the arguments."""
        self.size, self.edge = size, edge


class Polygon(Shape):
    """An implementation that is itself configurable."""

    @classmethod
    def configurable_base(cls) -> type[Configurable]:
        """Name the second top."""
        return Polygon

    @classmethod
    def configurable_default(cls) -> type[Configurable]:
        """Name the second default."""
        return Triangle


class Triangle(Polygon):
    """The default of the second level."""

    def initialize(self, size: Any = None) -> None:
        """Keep the argument."""
        self.size = size


class Hexagon(Polygon):
    """The other of the second level, which takes no arguments."""


@pytest.fixture(autouse=True)
def _restored():
    """Leave the configuration as it was."""
    saved = Shape._save_configuration(), Polygon._save_configuration()
    yield
    Shape._restore_configuration(saved[0])
    Polygon._restore_configuration(saved[1])


def test_default_is_made():
    """An unconfigured base makes the default, with the arguments of the call."""
    shape = Shape(3, colour="red")
    assert type(shape) is Circle
    assert (shape.size, shape.colour) == (3, "red")


@pytest.mark.parametrize("impl", [Square, f"{__name__}.Square"], ids=["class", "dotted-name"])
def test_configured_class_is_made(impl):
    """A configured base makes what was configured, given as a class or by name."""
    sys.modules.setdefault(__name__, sys.modules[Square.__module__])
    Shape.configure(impl, edge=4)
    shape = Shape(3)
    assert type(shape) is Square
    assert (shape.size, shape.edge) == (3, 4)
    assert Shape.configured_class() is Square


def test_call_wins_over_saved_arguments():
    """An argument of the call replaces the configured one."""
    Shape.configure(Circle, size=5, colour="red")
    assert Shape(colour="blue").colour == "blue"
    assert Shape(colour="blue").size == 5


def test_none_restores_the_default_and_keeps_arguments():
    """Configuring None makes the default again, with the saved arguments."""
    Shape.configure(Square)
    Shape.configure(None, colour="green")
    assert type(Shape()) is Circle
    assert Shape().colour == "green"


def test_named_implementation_ignores_the_configuration():
    """Making a subclass by its own name takes neither class nor arguments from `configure`."""
    Shape.configure(Square, edge=4)
    assert Circle().colour is None
    assert Square().edge is None


def test_two_levels():
    """An implementation that is a base decides by its own configuration."""
    Shape.configure(Polygon, size=7)
    assert type(Shape()) is Triangle
    assert Shape().size == 7
    Shape.configure(Polygon)
    Polygon.configure(Hexagon)
    assert type(Shape()) is Hexagon
    assert Polygon.configured_class() is Hexagon
    assert Shape.configured_class() is Polygon


@pytest.mark.parametrize("impl", [dict, "json.loads"], ids=["other-class", "not-a-class"])
def test_refuses_what_is_not_a_subclass(impl):
    """Configuring something else is a ValueError that names both."""
    with pytest.raises(ValueError, match="not a subclass of Shape"):
        Shape.configure(impl)


def test_refuses_a_class_above_the_configured_one():
    """A subclass can only be configured with its own subclasses."""
    with pytest.raises(ValueError, match="not a subclass of Square"):
        Square.configure(Circle)


def test_no_arguments_by_default():
    """A class without `initialize` takes no arguments, and says so."""
    with pytest.raises(TypeError, match="Hexagon takes no arguments"):
        Hexagon(1)


def test_saved_configuration_is_restored():
    """What `_save_configuration` returned brings back class and arguments."""
    Shape.configure(Square, edge=1)
    saved = Shape._save_configuration()
    Shape.configure(None)
    Shape._restore_configuration(saved)
    assert Shape().edge == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("json", json),
        ("json.decoder", json.decoder),
        ("json.decoder.JSONDecoder", json.decoder.JSONDecoder),
        ("collections.abc.Mapping", collections.abc.Mapping),
    ],
)
def test_import_object(name, expected):
    """A dotted name finds a module, a submodule or an attribute."""
    assert import_object(name) is expected


def test_import_object_finds_a_submodule_not_imported_yet(tmp_path, monkeypatch):
    """A submodule that nobody has imported is found as well as an attribute."""
    package = tmp_path / "edgeserver_util_sample"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "late.py").write_text("VALUE = 1\n")
    (package / "broken.py").write_text("import edgeserver_no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert import_object("edgeserver_util_sample.late").VALUE == 1
    with pytest.raises(ModuleNotFoundError, match="edgeserver_no_such_module"):
        import_object("edgeserver_util_sample.broken")


@pytest.mark.parametrize("name", ["json.nothing", "edgeserver_no_such_module.x"])
def test_import_object_refuses_unknown_names(name):
    """What does not exist is an ImportError."""
    with pytest.raises(ImportError):
        import_object(name)
