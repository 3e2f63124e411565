"""What holds for the whole house: who imports whom, how light it is, and what it says of itself."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

import modelport
from modelport import cli, errors

ROOT = Path(__file__).parents[2]
SOURCE = Path(modelport.__file__).parent

# A package may import those of its row; every name in a row stands in an earlier row.
LAYERS: Mapping[str, set[str]] = {
    "errors": set(),
    "spec": {"errors"},
    "serving": {"errors"},
    "repository": {"spec", "errors"},
    "client": {"errors"},
    "codegen": {"client", "repository", "spec", "errors"},
    "verify": {"client", "repository", "spec", "errors"},
    "runtime": {"verify", "client", "repository", "serving", "spec", "errors"},
    "perf": {"runtime", "verify", "client", "repository", "spec", "errors"},
    "rollout": {"perf", "runtime", "verify", "client", "repository", "spec", "errors"},
    "build": {"runtime", "verify", "client", "repository", "serving", "spec", "errors"},
    "families": {"build", "serving", "spec", "errors"},
    "cli": {
        "rollout",
        "build",
        "perf",
        "runtime",
        "verify",
        "codegen",
        "client",
        "repository",
        "serving",
    }
    | {"spec", "errors"},
}

# What these may import beside the standard library and Modelport itself.
FOREIGN: Mapping[str, set[str]] = {
    "errors": set(),
    "spec": {"pydantic"},
    # triton_python_backend_utils exists inside tritonserver's stubs only.
    "serving": {"numpy", "PIL", "onnxruntime", "tokenizers", "tensorrt"}
    | {"triton_python_backend_utils"},
    # Those of tritonclient come along with it; ml_dtypes is used where it is.
    "client": {"numpy", "tritonclient", "google", "grpc", "ml_dtypes"},
    "cli": {"click", "rich", "numpy"},
}


def imports_of(package: str) -> Iterator[tuple[Path, str]]:
    """Give file and dotted name of every import, those inside functions included."""
    folder = SOURCE / package
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [SOURCE / f"{package}.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: imports are written out in full"
                names = [f".{alias.name}" for alias in node.names]
                # `from modelport import errors` names the module in its second half
                for name in names if node.module == "modelport" else [""]:
                    yield path, f"{node.module}{name}"


def test_every_package_has_its_layer() -> None:
    entries = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert entries - {"__init__", "__pycache__", "py"} == LAYERS.keys()


def test_the_table_of_layers_has_no_circle() -> None:
    names = list(LAYERS)
    for place, name in enumerate(names):
        assert LAYERS[name] <= set(names[:place]), name


@pytest.mark.parametrize("package", LAYERS)
def test_imports_point_downwards(package: str) -> None:
    upwards = {
        f"{path.relative_to(SOURCE)} imports {name}"
        for path, name in imports_of(package)
        if name.startswith("modelport.")
        and name.split(".")[1] not in LAYERS[package] | {package, "__version__"}
    }
    assert not upwards


@pytest.mark.parametrize("package", FOREIGN)
def test_light_packages_stay_light(package: str) -> None:
    allowed = FOREIGN[package] | {"modelport"} | set(sys.stdlib_module_names)
    strange = {
        f"{path.relative_to(SOURCE)} imports {name}"
        for path, name in imports_of(package)
        if name.split(".")[0] not in allowed
    }
    assert not strange


def test_help_loads_nothing_heavy() -> None:
    heavy = ["torch", "onnx", "onnxruntime", "pydantic", "numpy", "rich", "tritonclient", "grpc"]
    script = (
        "import json, sys\n"
        "from modelport.cli import command\n"
        "command.main(['--help'], standalone_mode=False)\n"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli.command, [name, "--help"], prog_name="modelport")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: modelport {name}")


# --- what it says of itself -----------------------------------------------------


def drawn_errors() -> list[tuple[int, str, int]]:
    """Read depth, name and exit code from the tree in the docstring of `modelport.errors`."""
    line = re.compile(r"^ {4}([│├└─ ]*)(\w+) +(\d+)\b", re.MULTILINE)
    return [
        (len(branch) // 4, name, int(code))
        for branch, name, code in line.findall(errors.__doc__ or "")
    ]


def real_errors(kind: type[errors.ModelportError], depth: int = 0) -> list[tuple[int, str, int]]:
    here = [leaf for leaf in kind.__subclasses__() if leaf.__module__ == errors.__name__]
    below = [entry for leaf in here for entry in real_errors(leaf, depth + 1)]
    return [(depth, kind.__name__, kind.exit_code), *below]


def test_the_error_tree_is_drawn_as_it_is() -> None:
    assert drawn_errors() == real_errors(errors.ModelportError)


def test_errors_live_in_one_file() -> None:
    """An error of `serving` leaves the server as Triton's text, so it needs no exit code."""
    known = {name for _, name, _ in drawn_errors()}
    strays = {
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in SOURCE.rglob("*.py")
        if path.name != "errors.py" and "serving" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and known & {base.id for base in node.bases if isinstance(base, ast.Name)}
    }
    assert not strays


@pytest.mark.parametrize("package", LAYERS)
def test_every_package_says_what_it_is_for(package: str) -> None:
    assert (importlib.import_module(f"modelport.{package}").__doc__ or "").strip()


def test_the_map_names_every_package() -> None:
    mapped = set(re.findall(r"^ {4}modelport\.(\w+)", modelport.__doc__ or "", re.MULTILINE))
    assert mapped == LAYERS.keys()


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert versions[0] == modelport.__version__
