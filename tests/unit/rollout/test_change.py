"""What is promoted together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from policies import pin

from modelport.errors import RepositoryError
from modelport.repository import doctor
from modelport.repository.layout import Repository
from modelport.rollout import change
from modelport.rollout.change import Change


def test_parts_and_all_who_run_them_go_together(family: Repository) -> None:
    pin(family, part_a=1, part_b=1, whole=1, other=1)
    found = change.target(family, "whole", 2)
    assert found.versions == {"whole": 2, "part_a": 2, "part_b": 2, "other": 2}
    assert set(found.changes) == {Change(n, (1,), 2) for n in found.versions}


@pytest.mark.parametrize("named", ["part_a", "other"])
def test_naming_a_part_brings_the_models_over_it(family: Repository, named: str) -> None:
    pin(family, part_a=1, part_b=1, whole=1, other=1)
    assert change.target(family, named, 2).versions["whole"] == 2


def test_what_serves_the_newest_is_pinned_with_the_rest(family: Repository) -> None:
    """Else the next build would have it serve with parts that it was not proven with."""
    assert {one.model for one in change.target(family, "whole", 2).changes} == {
        "whole", "part_a", "part_b", "other"
    }  # fmt: skip
    pin(family, part_a=2, part_b=2, whole=2, other=2)
    assert change.target(family, "whole", 2).changes == ()


def test_a_model_that_would_be_left_behind_is_named(
    family: Repository, publish: Callable[..., None]
) -> None:
    publish("part_a", 3)
    publish("whole", 3, {"part_a": 3, "part_b": 2})
    with pytest.raises(RepositoryError, match="other runs part_a 3 too") as caught:
        change.target(family, "whole", 3)
    assert caught.value.next_step == "modelport build other, then promote again"


def test_a_version_that_is_not_there(family: Repository) -> None:
    with pytest.raises(RepositoryError, match="no version 7; there are 1, 2"):
        change.target(family, "whole", 7)
    with pytest.raises(RepositoryError, match="no model 'hole'") as caught:
        change.target(family, "hole", 1)
    assert "whole" in str(caught.value.cause)


def test_parts_that_serve_in_another_version_are_told(family: Repository) -> None:
    pin(family, part_a=1, part_b=1, whole=1, other=1)
    assert [f.rule for f in doctor.check(family.path) if f.rule == "MP606"] == []
    pin(family, part_a=2)
    told = [f for f in doctor.check(family.path) if f.rule == "MP606"]
    assert [(f.path.parent.name, f.got) for f in told] == [
        ("other", "part_a 2 serves"),
        ("whole", "part_a 2 serves"),
    ]
