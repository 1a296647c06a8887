"""A class whose constructor picks the implementation: `Configurable`, and `import_object`.

Decides which subclass an interface class makes, and with which saved arguments. It must not know
any such interface: they derive from it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

__all__ = ["Configurable", "import_object", "initialized_by"]

_P = ParamSpec("_P")
_Self = TypeVar("_Self")


def import_object(name: str) -> Any:
    """Import the module, or the attribute of a module, that a dotted `name` says.

    Args:
        name: Such as `"package.module"` or `"package.module.Class"`.

    Raises:
        ImportError: There is no such module, or it has no such attribute.

    Source: `tornado.util.import_object`.
    """
    module_name, _, attribute = name.rpartition(".")
    if not module_name:
        return importlib.import_module(name)
    module = importlib.import_module(module_name)
    try:
        return getattr(module, attribute)
    except AttributeError:
        pass
    try:
        # A submodule that its package has not imported yet is not an attribute so far.
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise  # the module exists, and something that it imports does not
        raise ImportError(
            f"{module_name!r} has neither an attribute nor a module {attribute!r}; "
            f"correct the dotted name {name!r}"
        ) from error


def initialized_by(
    initialize: Callable[Concatenate[_Self, _P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[_Self, _P], None]]:
    """Give a constructor that does nothing the signature of `initialize`, for readers and tools.

    `Configurable` calls `initialize` with the arguments, where those that do not fit are refused; a
    subclass's own `initialize` may take others. So the constructor itself refuses nothing.
    """

    def decorate(constructor: Callable[..., None]) -> Callable[Concatenate[_Self, _P], None]:
        shown = functools.update_wrapper(constructor, initialize)
        shown.__name__, shown.__qualname__ = "__init__", f"{initialize.__qualname__}.__init__"
        return cast("Callable[Concatenate[_Self, _P], None]", shown)

    return decorate


class Configurable:
    """An interface whose constructor makes an instance of the configured implementation.

    A subclass names the top of its hierarchy (`configurable_base`) and what is used when nobody
    has configured anything (`configurable_default`), and takes its arguments in `initialize`
    rather than in `__init__`. An implementation may itself be a base of this kind: then its own
    configuration decides further.

    Source: `tornado.util.Configurable`.
    """

    __impl_class: type[Configurable] | None = None
    __impl_kwargs: dict[str, Any] | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an instance of the configured implementation, and initialize it."""
        base = cls.configurable_base()
        saved: dict[str, Any] = {}
        impl: type[Configurable] = cls
        if cls is base:
            impl = cls.configured_class()
            saved = base.__impl_kwargs or {}
        arguments = {**saved, **kwargs}
        if impl.configurable_base() is not base:
            return cast(Self, impl(*args, **arguments))
        instance = super().__new__(impl)
        instance.initialize(*args, **arguments)
        return cast(Self, instance)

    @classmethod
    def configurable_base(cls) -> type[Configurable]:
        """Return the top of the hierarchy, usually the class that defines this method."""
        raise NotImplementedError  # an interface: the subclass names itself

    @classmethod
    def configurable_default(cls) -> type[Configurable]:
        """Return the implementation that is used when none was configured."""
        raise NotImplementedError  # an interface: the subclass names its implementation

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Take the constructor's arguments; what `__init__` is elsewhere.

        Raises:
            TypeError: There are arguments, and the subclass takes none.
        """
        if args or kwargs:
            raise TypeError(f"{type(self).__name__} takes no arguments")

    @classmethod
    def configure(cls, impl: str | type[Configurable] | None, **kwargs: Any) -> None:
        """Have the base's constructor make an `impl` from now on.

        Args:
            impl: A subclass, its dotted name, or None for the default.
            kwargs: Arguments that every instance gets unless the call says otherwise.

        Raises:
            ValueError: `impl` is not a subclass.
            ImportError: Nothing has that dotted name.
        """
        base = cls.configurable_base()
        chosen = import_object(impl) if isinstance(impl, str) else impl
        if chosen is not None and not (isinstance(chosen, type) and issubclass(chosen, cls)):
            raise ValueError(f"{chosen!r} is not a subclass of {cls.__name__}; configure one")
        base.__impl_class = chosen
        base.__impl_kwargs = kwargs

    @classmethod
    def configured_class(cls) -> type[Configurable]:
        """Return the class that the base's constructor makes at present."""
        base = cls.configurable_base()
        # Only what was configured on this very base counts: a base may inherit from another one.
        chosen = cast("type[Configurable] | None", vars(base).get("_Configurable__impl_class"))
        if chosen is None:
            chosen = base.__impl_class = cls.configurable_default()
        return chosen

    @classmethod
    def _save_configuration(cls) -> tuple[type[Configurable] | None, dict[str, Any] | None]:
        """Return the present configuration, for a test to restore it later."""
        base = cls.configurable_base()
        return base.__impl_class, base.__impl_kwargs

    @classmethod
    def _restore_configuration(
        cls, saved: tuple[type[Configurable] | None, dict[str, Any] | None]
    ) -> None:
        """Put back what `_save_configuration` returned."""
        base = cls.configurable_base()
        base.__impl_class, base.__impl_kwargs = saved
