"""Rules about the Python environment that a model's code runs in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject

_PARAMETER = "EXECUTION_ENV_PATH"
_MODEL_FOLDER = "$$TRITON_MODEL_DIRECTORY"
_REQUIREMENTS = "requirements.txt"
_NUMPY = re.compile(r"^\s*numpy\s*(?P<bounds>[^#;]*)", re.IGNORECASE | re.MULTILINE)
_BELOW_2 = re.compile(r"(==|~=|<|<=)\s*1\b|<\s*2(\.0)*(\s|,|$)")
_SERVER = "the python backend of tritonserver 2.51.0"


def absent_environment(subject: Subject) -> Iterator[Problem]:
    """The environment that the model names is not there."""
    path = _environment(subject)
    if path is not None and not path.exists():
        yield Problem(
            field=f"parameters.{_PARAMETER}",
            expected=f"an environment at {path}",
            got="nothing there",
            fix="copy the environment to that place, or mend the path",
        )


def newer_numpy(subject: Subject) -> Iterator[Problem]:
    """The model's own environment holds, or would get, numpy 2."""
    if subject.backend is None or subject.backend.name != "python":
        return
    environment = _environment(subject)
    if environment is not None:
        for path in sorted(environment.glob("lib/python3.*/site-packages/numpy-[0-9]*.dist-info")):
            if int(path.name.removeprefix("numpy-").split(".")[0]) >= 2:
                yield _numpy(path, path.name.removesuffix(".dist-info"), None)
        return
    for folder in (subject.folder.path, *map(subject.folder.version_dir, subject.served)):
        path = folder / _REQUIREMENTS
        text = subject.text(path) if path.is_file() else None
        match = _NUMPY.search(text or "")
        if text and match and not _BELOW_2.search(match["bounds"]):
            line = text.count("\n", 0, match.start("bounds")) + 1
            yield _numpy(path, match[0].strip(), line)


def _numpy(path: Path, got: str, line: int | None) -> Problem:
    return Problem(
        path=path,
        line=line,
        field="numpy",
        expected=f"numpy below 2 for {_SERVER}",
        got=got,
        fix="pin numpy==1.26.4, or serve with a server whose stub was built for numpy 2",
        severity=None if line else "error",
    )


def _environment(subject: Subject) -> Path | None:
    """Give the path that EXECUTION_ENV_PATH stands for; None where there is none."""
    if subject.config.backend != "python":
        return None
    named = subject.config.parameters.get(_PARAMETER, "")
    if not named:
        return None
    return Path(named.replace(_MODEL_FOLDER, str(subject.folder.path)))
