"""Ratings that fit on a screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.families import interactions
from modelport.families.interactions import HeldOut


@pytest.fixture
def held_out(tmp_path: Path) -> HeldOut:
    """User a has nine likes and bad ratings between, user b has too few."""
    rows = ["user,item,rating,timestamp"]
    rows += [f"a,{n},{5 if n % 2 else 1},{n}" for n in range(1, 20)]
    rows += [f"b,{n},5,{n}" for n in range(1, 5)]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return interactions.hold_out(path)
