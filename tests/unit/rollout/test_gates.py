"""When a figure is worse than the settings allow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from policies import pin

from modelport.repository.layout import Repository
from modelport.repository.settings import Bounds, Settings
from modelport.rollout import change, gates


@pytest.mark.parametrize(
    ("before", "after", "gate", "most_worse", "stands"),
    [
        (0.90, 0.896, ">= 0.5", 0.005, False),
        (0.90, 0.894, ">= 0.5", 0.005, True),
        (0.90, 0.95, ">= 0.5", 0.0, False),
        (0.10, 0.12, "<= 0.5", 0.005, True),
        (0.12, 0.10, "<= 0.5", 0.0, False),
        (0.90, 0.80, ">= 0.5", 0.2, False),
    ],
)
def test_a_loss_beyond_the_bound_stands_against_it(
    repository: Repository,
    publish: Callable[..., None],
    before: float,
    after: float,
    gate: str,
    most_worse: float,
    stands: bool,
) -> None:
    publish("m", 1, accuracy=before, gate=gate)
    publish("m", 2, accuracy=after, gate=gate)
    pin(repository, m=1)
    settings = Settings(promote=Bounds(most_worse=most_worse))
    found = list(gates.objections(change.target(repository, "m", 2), settings))
    assert bool(found) is stands


def test_figures_on_other_data_are_shown_and_not_held_against_it(
    repository: Repository, publish: Callable[..., None]
) -> None:
    publish("m", 1, accuracy=0.9)
    publish("m", 2, accuracy=0.6, data="f" * 64)
    pin(repository, m=1)
    target = change.target(repository, "m", 2)
    assert list(gates.objections(target, Settings())) == []
    figure = gates.figures(target)["m"]["accuracy"]
    assert (figure.before, figure.after) == (0.9, 0.6)


def test_a_model_that_is_taken_from_its_callers_breaks_them(
    repository: Repository, publish: Callable[..., None]
) -> None:
    publish("m", 1)
    publish("m", 2)
    pin(repository, m=1)
    folder = repository.model("m")
    folder.manifest(2).model_copy(update={"public": False}).write(folder.version_dir(2))
    [told] = gates.breaking(change.target(repository, "m", 2))
    assert told == "m: is a part now, and not offered to callers any more"
    folder.manifest(1).model_copy(update={"public": False}).write(folder.version_dir(1))
    assert list(gates.breaking(change.target(repository, "m", 2))) == []  # it was none before
