"""The sample of an access log: which requests always have a line, and which by chance."""

from types import SimpleNamespace
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.logs.sampling import AccessSampler


def _exchange(**changed: Any) -> Any:
    values = {"status": 200, "duration_s": 0.1, "has_findings": lambda: False}
    return SimpleNamespace(**(values | changed))


@pytest.mark.parametrize(
    ("changed", "chance", "weight"),
    [
        ({}, 0.05, 0.1),
        ({}, 0.5, 0.0),
        ({"status": 302}, 0.5, 0.0),
        ({"status": 404}, 0.5, 1.0),
        ({"status": 503}, 0.5, 1.0),
        ({"status": 0}, 0.5, 1.0),
        ({"duration_s": 2.0}, 0.5, 1.0),
        ({"duration_s": 1.99}, 0.5, 0.0),
        ({"has_findings": lambda: True}, 0.5, 1.0),
        ({"has_findings": lambda: True}, 0.05, 1.0),
    ],
    ids=[
        "kept", "not-kept", "redirect", "client-error", "server-error", "no-answer", "slow",
        "not-slow", "findings", "findings-and-chance",
    ],
)  # fmt: skip
def test_which_are_kept(changed: dict[str, Any], chance: float, weight: float) -> None:
    """Errors, slow ones and odd ones always; the others by chance."""
    sampler = AccessSampler(0.1, slow_s=2.0, choose=lambda: chance)
    assert sampler.weigh(_exchange(**changed)) == weight


@pytest.mark.parametrize("share", [0, -1, 1.1, float("nan"), "0.1"])
def test_what_is_no_share(share: Any) -> None:
    """A share that is none is refused, with the fix."""
    with pytest.raises(ConfigurationError, match=r"such as 0\.1"):
        AccessSampler(share)
