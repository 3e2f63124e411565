"""Where tritonserver is looked for, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.errors import ToolchainError
from modelport.runtime import assembly, libraries, toolchain
from modelport.runtime.environment import Environment


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A tritonserver as NVIDIA's image lays it out."""
    root = tmp_path / "opt"
    python = root / "backends" / "python"
    python.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (python / name).write_bytes(b"")
    # A program that the loader can be asked about.
    shutil.copy("/bin/true", python / "triton_python_backend_stub")
    (root / "backends" / "pytorch").mkdir()
    (root / "bin").mkdir()
    shutil.copy("/bin/true", root / "bin" / "tritonserver")
    (root / "TRITON_VERSION").write_text("2.99.0\n")
    return root / "bin" / "tritonserver"


def test_the_variable_comes_first(
    installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(installed.parent), prepend=":")
    used = {c.place: c.why for c in toolchain.candidates()}
    assert used["PATH"] == "used: the first one found"
    other = shutil.copytree(installed.parents[1], tmp_path / "other") / "bin" / "tritonserver"
    monkeypatch.setenv(toolchain.VARIABLE, str(other))
    used = {c.place: c.why for c in toolchain.candidates()}
    assert used["PATH"] == f"not used: {toolchain.VARIABLE} comes first"
    assert toolchain.ensure().binary == other.resolve()


def test_an_installed_one_brings_its_own_python_and_backends(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(toolchain.VARIABLE, str(installed))
    found = toolchain.ensure()
    assert (found.version, found.environment) == ("2.99.0", None)
    assert {p.name for p in found.backends.iterdir()} >= {"python", "pytorch", "onnxruntime"}
    assert (found.backends / "python" / "modelport").resolve() == assembly.PACKAGE
    assert toolchain.find() == found


def test_the_callers_python_path_does_not_reach_the_stubs(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(toolchain.VARIABLE, str(installed))
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    variables = toolchain.ensure().variables()
    assert "PYTHONPATH" not in variables
    assert variables["LD_LIBRARY_PATH"].endswith("/mine")


def test_onnxruntime_reports_nothing_unless_the_user_wants_it(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(toolchain.VARIABLE, str(installed))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert toolchain.ensure().variables()["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert toolchain.ensure().variables()["ORT_DISABLE_TELEMETRY"] == "0"


def test_what_is_no_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(toolchain.VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(ToolchainError, match="no program that can be run"):
        toolchain.find()


def test_another_content_is_another_folder(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(toolchain.VARIABLE, str(installed))
    first = toolchain.ensure().backends
    monkeypatch.setattr(assembly, "PACKAGE", Path("/another/checkout/modelport"))
    assert toolchain.ensure().backends != first


def test_missing_libraries_are_named_with_their_package(tmp_path: Path) -> None:
    binary = tmp_path / "program"
    source = "int gone(void); int main(void) { return gone(); }"
    library = tmp_path / "libpython3.99.so.1.0"
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("no C compiler")
    shared = ["-shared", "-fPIC", "-Wl,-soname,libpython3.99.so.1.0", "-o", str(library)]
    _compile(cc, "int gone(void) { return 0; }", *shared)
    _compile(cc, source, str(library), "-o", str(binary))
    libraries.check(binary, [tmp_path])
    with pytest.raises(ToolchainError, match=r"needs libpython3\.99\.so\.1\.0") as caught:
        libraries.check(binary)
    assert "apt install libpython3.99" in str(caught.value)


def test_numpy_2_in_the_servers_environment_is_refused(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    (environment.site_packages / "numpy-1.26.4.dist-info").mkdir(parents=True)
    environment.check_numpy()
    (environment.site_packages / "numpy-1.26.4.dist-info").rename(
        environment.site_packages / "numpy-2.4.6.dist-info"
    )
    with pytest.raises(ToolchainError, match=r"has numpy 2\.4\.6, expected 1\.26\.4"):
        environment.check_numpy()


def test_an_environment_without_its_marker_is_not_complete(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.python.parent.mkdir()
    environment.python.symlink_to(sys.executable)
    assert not environment.complete()


def _compile(cc: str, source: str, *arguments: str) -> None:
    command = [cc, "-x", "c", "-", "-x", "none", *arguments]
    subprocess.run(command, input=source.encode(), check=True)
