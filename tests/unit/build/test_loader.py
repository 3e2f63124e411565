"""Builder files: what they declare, and how each mistake in them is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelport.build import loader
from modelport.errors import BuilderError

Write = Callable[..., Path]

# Line 8 is the first one below the imports and tensors.
SOUND = """\
def answer(inputs):
    return {"y": inputs["x"]}

model = PythonModel(
    name="tiny",
    inputs=(X,),
    outputs=(Y,),
    reference=answer,
)
"""


def refused(path: Path) -> BuilderError:
    with pytest.raises(BuilderError) as caught:
        loader.load(path)
    return caught.value


def test_a_sound_file_is_loaded(write: Write) -> None:
    builder = loader.load(write(SOUND))
    (model,) = builder.models
    assert (model.name, model.kind) == ("tiny", "python")
    assert builder.is_public(model)
    assert builder.imports == {}


@pytest.mark.parametrize("relative", [False, True])
def test_a_typo_names_file_line_class_field_and_the_near_field(
    write: Write, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(SOUND.replace("reference=", "max_batch_sise=8, reference="))
    if relative:
        monkeypatch.chdir(path.parent)
        path = Path(path.name)
    error = refused(path)
    assert error.what == f"{path}:11: PythonModel: unknown field 'max_batch_sise'"
    assert "did you mean max_batch_size" in str(error.cause)
    assert (error.objects["path"], error.objects["field"]) == (path, "max_batch_sise")
    assert error.exit_code == 11


def test_a_missing_field_is_named(write: Write) -> None:
    path = write(SOUND.replace("    outputs=(Y,),\n", ""))
    assert refused(path).what == f"{path}:11: PythonModel: field 'outputs' is missing"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('name="tiny"', 'name="ti ny"', ":11: PythonModel: field 'name': "),
        ('name="tiny"', "name=None", ":11: PythonModel: field 'name': "),
        ("inputs=(X,)", "inputs=()", ":11: PythonModel: field 'inputs': "),
        ("inputs=(X,)", "inputs=(X, X)", "inputs named more than once: x"),
        ("inputs=(X,)", 'inputs=("x",)', ":11: PythonModel: field 'inputs.0': "),
        ("(X,)", '(Tensor("x", "FLOAT", (2,)),)', ": Tensor: field 'datatype': "),
        ("(X,)", '(Tensor("x", "FP32", (-2,)),)', ": Tensor: field 'dims.0': "),
        ("reference=answer", "reference=3", ":11: PythonModel: field 'reference': "),
    ],
)
def test_a_wrong_value_names_field_expected_and_got(
    write: Write, old: str, new: str, what: str
) -> None:
    path = write(SOUND.replace(old, new))
    error = refused(path)
    assert str(path) in error.what
    assert what in error.what
    assert "; got " in error.what


def test_a_syntax_error_names_its_line(write: Write) -> None:
    path = write("model = (\n")
    assert refused(path).what == f"{path}:8: '(' was never closed: model = ("


def test_a_file_that_is_no_text_is_refused(write: Write) -> None:
    path = write(SOUND)
    path.write_bytes(b"\x00\xff")
    assert str(path) in refused(path).what


def test_a_package_that_is_not_installed(write: Write) -> None:
    path = write("import no_such_package\n" + SOUND)
    error = refused(path)
    assert error.what == f"{path}:8: ModuleNotFoundError: No module named 'no_such_package'"
    assert "not installed" in str(error.cause)
    assert "install it" in str(error.next_step)


def test_any_other_exception_names_its_line(write: Write) -> None:
    path = write("\n\n1 / 0\n")
    assert refused(path).what == f"{path}:10: ZeroDivisionError: division by zero"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.py"
    assert refused(path).what == f"{path}: there is no such file"


def test_a_file_that_is_no_python(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text("")
    assert refused(path).what == f"{path}: not a Python file"


@pytest.mark.parametrize(
    ("text", "got"),
    [("", "nothing"), ("models = ()", "nothing"), ("model = 3", "int"), ("models = [3]", "list")],
)
def test_a_file_without_a_model(write: Write, text: str, got: str) -> None:
    error = refused(write(text))
    assert "field 'model' or 'models'" in error.what
    assert error.what.endswith(f"got {got}")


def test_two_models_of_one_name(write: Write) -> None:
    error = refused(write(SOUND + "models = (model, model)"))
    assert "two models are named 'tiny'" in error.what


ENSEMBLES = """
def same(name, *parts):
    if not parts:
        return PythonModel(name=name, inputs=(X,), outputs=(X,), reference=dict)
    steps = tuple(Step(part, {"x": "x"}, {"x": "x"}) for part in parts)
    return Ensemble(name=name, inputs=(X,), outputs=(X,), steps=steps)
"""


def test_parts_come_before_the_ensembles_that_run_them(write: Write) -> None:
    text = 'models = (same("top", "middle"), same("middle", "low"), same("low"))'
    builder = loader.load(write(ENSEMBLES + text))
    assert [model.name for model in builder.models] == ["low", "middle", "top"]
    assert [model.name for model in builder.models if builder.is_public(model)] == ["top"]


def test_public_can_be_told(write: Write) -> None:
    text = (
        'import dataclasses\nlow = dataclasses.replace(same("low"), public=True)\n'
        'models = (same("top", "low"), low)'
    )
    builder = loader.load(write(ENSEMBLES + text))
    assert all(builder.is_public(model) for model in builder.models)


def test_an_ensemble_of_an_unknown_step(write: Write) -> None:
    path = write(ENSEMBLES + 'models = (same("top", "low", "lost"), same("low"))')
    error = refused(path)
    assert f"{path}: ensemble 'top': field 'steps': model 'lost' is not declared" in error.what
    assert error.objects["field"] == "steps"


@pytest.mark.parametrize("text", ['same("a", "a"),', 'same("a", "b"), same("b", "a")'])
def test_ensembles_in_a_circle(write: Write, text: str) -> None:
    assert "in a circle: a" in refused(write(f"{ENSEMBLES}models = ({text})")).what


def whole(builder: loader.Builder) -> str:
    return builder.fingerprint(builder.models[0])


class TestFingerprint:
    """What counts as a change."""

    def test_comments_and_layout_do_not(self, write: Write) -> None:
        before = whole(loader.load(write(SOUND)))
        changed = "# what it does\n\n\n" + SOUND.replace("(X,)", "( X, )")
        assert whole(loader.load(write(changed))) == before

    def test_code_does(self, write: Write) -> None:
        before = whole(loader.load(write(SOUND)))
        assert whole(loader.load(write(SOUND.replace("tiny", "tinier")))) != before

    def test_a_module_beside_the_builder_does(self, write: Write) -> None:
        path = write("from _nets import NAME\n" + SOUND.replace('"tiny"', "NAME"))
        beside = write('NAME = "first"\n', name="_nets.py", head="")
        first = loader.load(path)
        assert first.models[0].name == "first"
        assert list(first.imports) == [str(beside)]
        write('NAME = "second"\n', name="_nets.py", head="")
        second = loader.load(path)
        assert second.models[0].name == "second"
        assert whole(second) != whole(first)

    def test_a_module_beside_two_builders_counts_for_both(self, write: Write) -> None:
        """Whichever of them is loaded first, in one process."""
        write("VALUE = 1\n", name="_nets.py", head="")
        paths = [write(f"import _nets\n{SOUND}", name=name) for name in ("one.py", "two.py")]
        builders = [loader.load(path) for path in (*paths, *paths)]
        assert all(len(builder.imports) == 1 for builder in builders)
        assert whole(builders[0]) == whole(builders[2])

    def test_modules_of_one_name_in_two_folders_are_two(self, write: Write, tmp_path: Path) -> None:
        here = write("from _nets import NAME\n" + SOUND.replace('"tiny"', "NAME"))
        write('NAME = "here"\n', name="_nets.py", head="")
        there = tmp_path / "elsewhere"
        there.mkdir()
        (there / "tiny.py").write_text(here.read_text())
        (there / "_nets.py").write_text('NAME = "there"\n')
        names = [loader.load(path).models[0].name for path in (here, there / "tiny.py", here)]
        assert names == ["here", "there", "here"]

    def test_the_search_path_is_as_it_was(self, write: Write) -> None:
        before = list(sys.path)
        loader.load(write(SOUND))
        refused(write("1 / 0"))
        assert sys.path == before

    def test_a_mistake_in_a_module_beside_it_is_named_there(self, write: Write) -> None:
        beside = write("\n\nx = = 1\n", name="_broken.py", head="")
        error = refused(write("import _broken\n"))
        assert error.what.startswith(f"{beside}:3: invalid syntax")


def test_the_builders_of_this_project_load() -> None:
    root = Path(__file__).parents[3]
    paths = sorted((root / "builders").glob("[!_]*.py"))
    assert paths
    for path in paths:
        assert loader.load(Path(os.path.relpath(path))).models


TRAINED = """\
network = lambda: nn.Linear(2, 3)
models = (
    TorchModel(name="back", inputs=(X,), outputs=(Y,), weights_of="front"),
    TorchModel(name="front", inputs=(X,), outputs=(Y,), network=network),
)
"""


def test_a_part_of_a_network_comes_after_the_whole(write: Write) -> None:
    builder = loader.load(write(TRAINED))
    assert [model.name for model in builder.models] == ["front", "back"]
    assert all(builder.is_public(model) for model in builder.models)


def test_weights_of_a_model_that_is_not_there(write: Write) -> None:
    error = refused(write(TRAINED.replace('"front", inputs', '"face", inputs')))
    assert "model 'back': field 'weights_of': model 'front' is not declared" in error.what


def test_a_network_and_weights_of_another(write: Write) -> None:
    error = refused(write(TRAINED.replace("weights_of=", "network=network, weights_of=")))
    assert "either a `network` or `weights_of` another" in error.what


def test_calls_in_a_circle(write: Write) -> None:
    tiny = SOUND.replace("model =", "a =").replace(
        "reference=answer", 'reference=answer, calls=("b",)'
    )
    other = tiny.replace("a =", "b =", 1).replace('"tiny"', '"b"').replace('("b",)', '("tiny",)')
    error = refused(
        write(tiny + other.partition("return")[2].partition("\n")[2] + "models = (a, b)\n")
    )
    assert "need each other in a circle: tiny, b" in error.what


def test_own_data_in_every_model_that_reads_the_first_source(write: Write, tmp_path: Path) -> None:
    text = (
        SOUND.replace("model =", "def made(n, s): return")
        .replace('"tiny"', "n")
        .replace("reference=answer,", "reference=answer, sources=s,")
    )
    text += 'A, B = LocalFile("a.csv"), LocalFile("b.csv")\n'
    text += 'models = (made("one", (A,)), made("two", (B, A)), made("three", ()))\n'
    builder = loader.load(write(text), data=tmp_path / "own.csv")
    named = {model.name: [source.path for source in model.sources] for model in builder.models}
    own = str(tmp_path / "own.csv")
    assert named == {"one": [own], "two": ["b.csv", own], "three": []}


def test_own_data_where_nothing_is_read(write: Write, tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match="no model of it reads data from outside"):
        loader.load(write(SOUND), data=tmp_path)


def test_a_builder_that_asks_for_own_data_places_it_itself(write: Write, tmp_path: Path) -> None:
    text = SOUND.replace("reference=answer,", "reference=answer, sources=SOURCES,")
    text = (
        "from modelport.build import own_data\n"
        "SOURCES = (LocalFile('a.csv'), LocalFile(str(own_data() or 'b.csv')))\n" + text
    )
    path = write(text)
    named = [
        [s.path for s in loader.load(path, data=d).models[0].sources] for d in (None, tmp_path)
    ]
    assert named == [["a.csv", "b.csv"], ["a.csv", str(tmp_path)]]


def test_a_gate_binds_on_the_data_that_it_was_chosen_for(write: Write, tmp_path: Path) -> None:
    text = """\
    A = Source("a", "1", "0" * 64, "a.csv", "CC0")
    model = TorchModel(
        name="tiny", inputs=(X,), outputs=(Y,), network=lambda: nn.Linear(2, 3), data=print,
        sources=(A,), gates=(Gate("accuracy", at_least=0.9, on=A), Gate("f1", at_least=0.5)),
    )
    """
    path = write(text)
    bound = [
        [g.metric for g in loader.load(path, data=d).models[0].gates] for d in (None, tmp_path)
    ]
    assert bound == [["accuracy", "f1"], ["f1"]]
