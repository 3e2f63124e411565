"""Profiles: the committed ones can be run, and a mistake is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.errors import ProfileError
from modelport.perf import levels, profile
from modelport.repository.layout import Repository

ROOT = Path(__file__).parents[3]
PUBLIC = {
    "activity", "anomaly", "digits", "digits_color", "embedder", "image_classifier", "recommender",
    "sentiment", "similar_items", "summarizer", "summarizer_stream", "tabular", "textgen",
}  # fmt: skip


def test_every_public_model_has_one() -> None:
    found = {path.stem: profile.read(path) for path in (ROOT / "perf").glob("*.toml")}
    assert {name for name, one in found.items() if one.model == name} == PUBLIC
    everything = found["mixed"].models
    assert set(everything) == PUBLIC - {"textgen"}
    assert set(everything) <= {
        folder.name for folder in Repository(ROOT / "model_repository").models()
    }


@pytest.mark.parametrize("path", sorted((ROOT / "perf").glob("*.toml")), ids=lambda path: path.stem)
def test_objectives_are_about_levels_that_are_measured(path: Path) -> None:
    chosen = profile.read(path)
    levels.refuse_unplaced(chosen)
    names = [one.name for group in levels.planned(chosen) for one in group]
    assert len(set(names)) == len(names)
    other = chosen.model_copy(update={"objectives": ["p99 <= 1 s at concurrency 77"]})
    with pytest.raises(ProfileError, match="no level concurrency 77 was measured"):
        levels.refuse_unplaced(other)


CLOSED = '[[load]]\nkind = "closed"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{CLOSED}concurency = [1]", "concurency: unknown key; did you mean 'concurrency'?"),
        (f'transprt = "grpc"\n{CLOSED}concurrency = [1]', "did you mean 'transport'?"),
        (f"{CLOSED}concurrency = [0]", "load.0.concurrency.0: Input should be greater than"),
        ('[[load]]\nkind = "clsoed"', "load.0: Input tag 'clsoed'"),
        ("", "load: missing"),
        (f'objectives = ["p99 <= 3"]\n{CLOSED}concurrency = [1]', "is not understood"),
        ('[[load]]\nkind = "mix"\nrate_per_s = {a = 1}', "`model` beside a mix"),
    ],
    ids=["load key", "key", "value", "kind", "nothing", "objective", "mix"],
)
def test_a_mistake_is_told(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(f'model = "m"\n{text}\n')
    with pytest.raises(ProfileError) as caught:
        profile.read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="No such file"):
        profile.read(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_bytes(b"model = \xff")
    with pytest.raises(ProfileError, match="not TOML"):
        profile.read(tmp_path / "p.toml")
