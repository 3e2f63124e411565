"""Who changed something since two sides were last in step."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.repository.stores.ledger import FILE_NAME, Ledger, who_changed

A, B, C = {"config.pbtxt": "a"}, {"config.pbtxt": "b"}, {"config.pbtxt": "c"}


@pytest.mark.parametrize(
    ("base", "here", "there", "side"),
    [
        (A, A, A, "same"),
        (None, A, A, "same"),
        (A, B, B, "same"),
        (A, B, A, "ours"),
        (A, A, B, "theirs"),
        (A, B, C, "conflict"),
        (None, A, B, "conflict"),
        (None, A, None, "ours"),
        (None, None, A, "theirs"),
        (A, None, A, "theirs"),
    ],
)
def test_who_changed(
    base: dict[str, str] | None,
    here: dict[str, str] | None,
    there: dict[str, str] | None,
    side: str,
) -> None:
    assert who_changed(base, here, there) == side


_FACE = st.dictionaries(st.sampled_from("pqr"), st.sampled_from("123"), min_size=1)


@given(base=_FACE, here=_FACE, keep=st.sets(st.sampled_from("pqr")))
def test_a_push_that_was_ended_between_files_is_still_ours(
    base: dict[str, str], here: dict[str, str], keep: set[str]
) -> None:
    """Some files are new, the others old: nobody else changed anything."""
    there = {p: here[p] if p in here and p not in keep else v for p, v in base.items()}
    assert who_changed(base, here, there) in {"same", "ours"}


def test_stores_are_kept_apart(tmp_path: Path) -> None:
    for identity in ("s3", "folder"):
        ledger = Ledger(tmp_path, identity)
        ledger.record("net", face={"config.pbtxt": identity}, versions={2, 1})
        ledger.save()
    assert Ledger(tmp_path, "s3").face("net") == {"config.pbtxt": "s3"}
    assert Ledger(tmp_path, "folder").versions("net") == {1, 2}
    assert Ledger(tmp_path, "none").models() == []


@pytest.mark.parametrize("damage", ["", "{", "[]", "null"])
def test_a_damaged_ledger_is_as_good_as_none(tmp_path: Path, damage: str) -> None:
    (tmp_path / FILE_NAME).write_text(damage)
    ledger = Ledger(tmp_path, "s3")
    assert ledger.face("net") is None
    ledger.record("net", face=A, versions={1})
    ledger.save()
    assert Ledger(tmp_path, "s3").face("net") == A
