"""`modelport codegen python`: what it writes, checks and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modelport import __version__, cli
from modelport.codegen import python_package
from modelport.errors import InterfaceError, StaleFilesError
from modelport.runtime import cache

CONFIG = """\
backend: "python"
max_batch_size: 8
input { name: "text" data_type: TYPE_STRING dims: [1] }
output { name: "score" data_type: TYPE_FP32 dims: [1] }
"""
BUILDER = """\
from modelport import spec

models = (
    spec.PythonModel(
        name="stars",
        doc="Rates a text.",
        inputs=(spec.Tensor("text", "BYTES", (1,), content="text"),),
        outputs=(spec.Tensor("score", "FP32", (1,), unit="stars", minimum=1, maximum=5),),
        max_batch_size=8,
        reference=dict,
    ),
)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout: configuration and builders, nothing built."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_repository" / "stars").mkdir(parents=True)
    (tmp_path / "model_repository" / "stars" / "config.pbtxt").write_text(CONFIG)
    (tmp_path / "builders").mkdir()
    (tmp_path / "builders" / "stars.py").write_text(BUILDER)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.command, ["codegen", "python", *arguments])


def test_a_module_for_each_model(place: Path) -> None:
    assert run("--json").exit_code == 0
    assert "text: str | bytes" in (place / "clients" / "stars.py").read_text()
    again = json.loads(run("--json").stdout)
    assert again == {"folder": "clients", "files": ["stars.py"], "written": []}


def test_builders_say_what_a_checkout_does_not(place: Path) -> None:
    assert run("--builders", "builders").exit_code == 0
    text = (place / "clients" / "stars.py").read_text()
    assert "score: 1 to 5; in stars." in text
    assert "text: str," in text
    # without what was built, a check is of the tensors; and nothing loses its words
    checked = run("--check")
    assert checked.exit_code == 0
    assert "only tensors were compared: stars" in checked.stderr
    assert run().exit_code == 0
    assert (place / "clients" / "stars.py").read_text() == text
    checked = run("--check", "--builders", "builders")
    assert checked.stdout == "clients: 1 file is what would be generated now\n"
    assert not checked.stderr
    # where the words are known, all of it is compared: also what was edited by hand
    (place / "clients" / "stars.py").write_text(text.replace('"score"', '"stars"'))
    edited = run("--check", "--builders", "builders")
    assert isinstance(edited.exception, StaleFilesError)


def test_what_is_stale_missing_and_surplus(place: Path) -> None:
    run("--builders", "builders")
    clients = place / "clients"
    (clients / "gone.py").write_text((clients / "stars.py").read_text())
    (clients / "mine.py").write_text("# by hand\n")
    config = place / "model_repository" / "stars" / "config.pbtxt"
    config.write_text(CONFIG.replace("TYPE_FP32", "TYPE_FP64"))
    stale = run("--check")
    assert isinstance(stale.exception, StaleFilesError)
    assert stale.exception.objects["differences"] == [
        {"path": "stars.py", "state": "stale"},
        {"path": "gone.py", "state": "surplus"},
    ]
    assert "modelport codegen python --repository model_repository --out clients" in str(
        stale.exception
    )
    (clients / "stars.py").unlink()
    missing = json.loads(run("--check", "--json", "stars").stdout)
    assert missing == [{"path": "stars.py", "state": "missing"}]


def test_near_names(place: Path) -> None:
    assert "did you mean stars?" in str(run("star").exception)
    assert "did you mean stars?" in str(run("star", "--builders", "builders").exception)


@pytest.mark.parametrize("name", ["modelport", "class", "9lives", "a b", ""])
def test_a_package_that_cannot_be(place: Path, name: str) -> None:
    assert isinstance(run("--package", name, "--out", "x").exception, InterfaceError)
    assert not (place / "x").exists()


def test_compatible_versions() -> None:
    assert python_package.compatible("0.1.0") == ">=0.1.0,<0.2"
    assert python_package.compatible("1.4.2") == ">=1.4.2,<2"
    assert python_package.compatible("2") == ">=2,<3"


@pytest.mark.slow
def test_a_package_that_is_installed(place: Path) -> None:
    """Wheels of it and of Modelport in a new environment; its types reach whoever uses it."""
    made = run("--builders", "builders", "--package", "acme-models", "--version", "1.2.0")
    assert made.exit_code == 0, made.output
    root = Path(__file__).parents[3]
    wheels = place / "wheels"
    for project in (place / "clients", root):
        _pip("wheel", "--no-build-isolation", "-w", str(wheels), str(project))
    venv = [sys.executable, "-m", "venv", "--without-pip", str(place / "venv")]
    subprocess.run(venv, check=True)
    python = place / "venv" / "bin" / "python"
    _pip("--python", str(python), "install", *map(str, wheels.glob("*.whl")))
    # What both need is here already; nothing is fetched.
    [site] = (place / "venv" / "lib").glob("*/site-packages")
    (site / "beside.pth").write_text(str(Path(pytest.__file__).parents[1]))
    (place / "use.py").write_text(
        "from acme_models import Stars\nreveal_type(Stars('http://127.0.0.1:9')('nice').score)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", ""]
    typed = subprocess.run(
        [*command, "--python-executable", str(python), "use.py"],
        env={**os.environ, "MYPY_CACHE_DIR": str(cache.folder("tests") / "mypy")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Revealed type is " in typed.stdout
    assert "float" in typed.stdout
    assert typed.returncode == 0, typed.stdout
    asked = subprocess.run(
        [str(python.parent / "acme-models"), "stars", "nice", "--url", "http://127.0.0.1:9"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 42, asked.stderr
    assert f">={__version__}" in (place / "clients" / "pyproject.toml").read_text()


def _pip(*arguments: str) -> None:
    place = arguments.index("wheel") if "wheel" in arguments else arguments.index("install")
    options = ["--quiet", "--no-deps", "--no-index"]
    command = [*arguments[: place + 1], *options, *arguments[place + 1 :]]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
