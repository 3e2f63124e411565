"""Tuned settings beside a builder file: they hold, or are refused loudly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.build import index, tuned_file
from modelport.errors import BuilderError, BuildError
from modelport.perf.settings import Settings
from modelport.repository.layout import Repository
from modelport.spec import ModelDynamicBatching, OnnxModel, Serving, Tensor
from modelport.spec import tuned as tables
from modelport.spec.tuned import Evidence, Tuned, TunedServing

EVIDENCE = Evidence(
    objectives=("p99 <= 5 ms at 20/s",), asked="m", tuned_at="2026-01-01", machine='a "fast" one'
)
NOW = TunedServing(max_batch_size=64, dynamic_batching=False)
BEST = TunedServing(
    instances=2,
    intra_op_threads=2,
    max_batch_size=16,
    dynamic_batching=True,
    preferred_batch_size=(4, 8),
    max_queue_delay_microseconds=300,
)
servings = st.builds(
    TunedServing,
    instances=st.integers(1, 9),
    intra_op_threads=st.integers(0, 9),
    max_batch_size=st.integers(0, 99),
    dynamic_batching=st.booleans(),
    preferred_batch_size=st.lists(st.integers(1, 99), max_size=3).map(tuple),
    max_queue_delay_microseconds=st.integers(0, 10**6),
)
figures = st.dictionaries(
    st.text(st.characters(codec="ascii"), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(["p99_ms", "cpu_ms"]), st.floats(-9, 9), min_size=1),
    max_size=2,
)


def model(serving: Serving | None = None, name: str = "m") -> OnnxModel:
    return OnnxModel(
        name=name,
        inputs=(Tensor("x", "FP32", (1,)),),
        outputs=(Tensor("y", "FP32", (1,)),),
        file=Path("m.onnx"),
        serving=serving or Serving(),
    )


@settings(max_examples=30)
@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True), servings, max_size=3),
    figures,
)
def test_what_is_written_is_read(
    named: dict[str, TunedServing], measured: dict[str, dict[str, float]]
) -> None:
    evidence = EVIDENCE.model_copy(update={"measured": measured})
    tuned = {name: Tuned(serving=one, over=NOW, evidence=evidence) for name, one in named.items()}
    assert tables.parse(tuned_file.tomllib.loads(tables.render(tuned))) == tuned


def test_the_tuned_settings_hold(tmp_path: Path) -> None:
    builder = tmp_path / "mine.py"
    kept = ModelDynamicBatching(preserve_ordering=True)
    assert tuned_file.applied(builder, [model()]) == (model(),)
    path = tuned_file.write(builder, "m", Tuned(serving=BEST, over=NOW, evidence=EVIDENCE))
    assert path.name == "mine.tuned.toml"
    other = model(name="n")
    found, untouched = tuned_file.applied(builder, [model(), other])
    assert TunedServing.of(found) == BEST
    assert untouched == other
    # What is not tuned stays the builder's.
    batched = model(Serving(dynamic_batching=kept))
    over = TunedServing.of(batched)
    tuned_file.write(builder, "m", Tuned(serving=BEST, over=over, evidence=EVIDENCE))
    batching = tuned_file.applied(builder, [batched])[0].serving.dynamic_batching
    assert batching is not None
    assert batching.preserve_ordering
    assert batching.preferred_batch_size == (4, 8)


def test_a_builder_that_changed_since_is_refused(tmp_path: Path) -> None:
    builder = tmp_path / "mine.py"
    tuned_file.write(builder, "m", Tuned(serving=BEST, over=NOW, evidence=EVIDENCE))
    with pytest.raises(BuilderError, match="instances is 3, was 1"):
        tuned_file.applied(builder, [model(Serving(instances=3))])


def test_a_parameter_of_the_builder_does_not_win_over_what_was_found(tmp_path: Path) -> None:
    builder = tmp_path / "mine.py"
    wished = {"intra_op_thread_count": "4", "other": "x"}
    declared = model(Serving(intra_op_threads=1, parameters=wished))
    over = TunedServing.of(declared)
    assert over.intra_op_threads == 4
    tuned_file.write(builder, "m", Tuned(serving=BEST, over=over, evidence=EVIDENCE))
    built = tuned_file.applied(builder, [declared])[0].config()
    assert Settings.of(built).table() == BEST
    assert built.parameters["other"] == "x"


def test_a_builder_can_be_loaded_as_it_is_written(tmp_path: Path) -> None:
    builder = tmp_path / "mine.py"
    tuned_file.write(builder, "m", Tuned(serving=BEST, over=BEST, evidence=EVIDENCE))
    with tuned_file.aside():
        assert tuned_file.applied(builder, [model()]) == (model(),)
    with pytest.raises(BuilderError):
        tuned_file.applied(builder, [model()])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    found = Tuned(serving=BEST, over=NOW, evidence=EVIDENCE)
    with pytest.raises(BuildError, match=r"gone/mine\.tuned\.toml: the settings of m"):
        tuned_file.write(tmp_path / "gone" / "mine.py", "m", found)


def test_settings_of_no_model_are_refused(tmp_path: Path) -> None:
    builder = tmp_path / "mine.py"
    tuned_file.write(builder, "gone", Tuned(serving=BEST, over=NOW, evidence=EVIDENCE))
    with pytest.raises(BuilderError, match="declares no model 'gone'"):
        tuned_file.applied(builder, [model()])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("[m", "mine.tuned.toml", id="no TOML"),
        pytest.param("m = 3", "mine.tuned.toml", id="no table"),
        pytest.param("[m.serving]\ninstance = 2", "serving", id="a typo"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "mine.tuned.toml").write_text(text)
    with pytest.raises(BuilderError, match=named):
        tuned_file.read(tmp_path / "mine.py")


def test_an_index_looks_again_once_a_model_was_tuned(tmp_path: Path) -> None:
    builder = tmp_path / "mine.py"
    builder.write_text("model = None\n")
    repository = Repository(tmp_path / "repository")
    repository.path.mkdir()
    index.store(builder, repository, {}, {})
    assert index.lookup(builder, repository) == {}
    tuned_file.write(builder, "m", Tuned(serving=BEST, over=NOW, evidence=EVIDENCE))
    assert index.lookup(builder, repository) is None
