"""Attributes that are worked out when first asked for."""

from edgeserver.httputil.lazy import lazy


class Thing:
    """Counts how often its attribute was worked out."""

    times = 0

    @lazy
    def answer(self) -> int:
        """The answer."""
        self.times += 1
        return 42


def test_worked_out_once() -> None:
    """The method runs when the attribute is first read, and once for each instance."""
    thing = Thing()
    assert (thing.answer, thing.answer, thing.times) == (42, 42, 1)
    assert Thing().times == 0


def test_assigned_and_deleted() -> None:
    """It can be assigned before and after, and works itself out again once deleted."""
    thing = Thing()
    thing.answer = 1
    assert (thing.answer, thing.times) == (1, 0)
    del thing.answer
    assert (thing.answer, thing.times) == (42, 1)


def test_documented() -> None:
    """The class shows the method's docstring."""
    assert Thing.answer.__doc__ == "The answer."
