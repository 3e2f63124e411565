"""Rules about a model's folder: its name, its versions, its files."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path

from modelport.repository import edits
from modelport.repository.doctor.backends import BACKENDS, NAMES, PLATFORMS
from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.repair import MakeFolder, SetField
from modelport.repository.doctor.subject import Subject
from modelport.repository.layout import CONFIG

# Folders of a model that hold no version: src/model_repository_manager/model_lifecycle.cc.
_KEPT_FOLDERS = ("warmup", "initial_state", "configs")


def unreadable_config(subject: Subject) -> Iterator[Problem]:
    """config.pbtxt is no ModelConfig in text format."""
    error = subject.config_error
    if error is not None:
        yield Problem(
            field=str(error.objects.get("field", "")),
            expected="a ModelConfig in protobuf text format",
            got=str(error.objects.get("reason") or error.what),
            fix=error.cause or error.next_step or "mend the file",
        )


def missing_config(subject: Subject) -> Iterator[Problem]:
    """There is no config.pbtxt."""
    if subject.folder.config_path.is_file():
        return
    usual = {backend.model_file for backend in BACKENDS if backend.model_file}
    found = [p.name for v in subject.versions for p in subject.folder.version_dir(v).iterdir()]
    derivable = sorted(usual.intersection(found))
    misplaced = CONFIG in found
    got = f"no configuration beside {derivable[0]}" if derivable else "no configuration"
    yield Problem(
        field="",
        expected="config.pbtxt",
        got="one inside a version only, where Triton does not look" if misplaced else got,
        fix="move it beside the version folders"
        if misplaced
        else "write one, or let `modelport import model.onnx` write it from the graph",
        severity="warning" if derivable else "error",
    )


def name_differs(subject: Subject) -> Iterator[Problem]:
    """The name in config.pbtxt is not the folder's."""
    if subject.config.name not in ("", subject.name):
        yield Problem(
            field="name",
            expected=subject.name,
            got=subject.config.name,
            fix="give both the same name, or leave the field out",
            repairs=(SetField("name", json.dumps(subject.name, ensure_ascii=False)),),
        )


def unknown_backend(subject: Subject) -> Iterator[Problem]:
    """Neither backend nor platform says who runs the model."""
    config = subject.config
    if config.backend and config.backend not in NAMES and not _is_custom(subject):
        near = difflib.get_close_matches(config.backend, NAMES, n=1)
        yield Problem(
            field="backend",
            expected=f"one of {', '.join(NAMES)}, or a backend of your own",
            got=config.backend,
            fix=f"did you mean {near[0]}?" if near else "add the backend to the server",
            severity="error" if near else "warning",
        )
    elif config.platform and not config.backend and config.platform not in PLATFORMS:
        near = difflib.get_close_matches(config.platform, [*PLATFORMS, *NAMES], n=1)
        yield Problem(
            field="platform",
            expected=f"one of {', '.join(PLATFORMS)}",
            got=config.platform,
            fix=f"did you mean {near[0]}?" if near else "name the backend instead",
        )
    elif (
        not config.backend
        and not config.platform
        and subject.versions  # without any, another rule says so, and files that come may tell
        and not _derivable(subject)
    ):
        yield Problem(
            field="backend",
            expected="a backend",
            got="neither backend nor platform, and no file that tells",
            fix='add a line such as backend: "onnxruntime"',
        )


def _is_custom(subject: Subject) -> bool:
    """Tell whether the model brings its backend along (its runtime or shared library)."""
    runtime = subject.config.runtime or f"libtriton_{subject.config.backend}.so"
    folders = [subject.folder.path, *map(subject.folder.version_dir, subject.versions)]
    return any((folder / runtime).is_file() for folder in folders)


def _derivable(subject: Subject) -> bool:
    named = ".".join(subject.config.default_model_filename.split(".")[1:])  # model.<backend>
    return subject.backend is not None or subject.is_ensemble or bool(named)


def backend_and_platform_disagree(subject: Subject) -> Iterator[Problem]:
    """Backend and platform name different things."""
    config = subject.config
    fitting = [b.platform for b in BACKENDS if b.name == config.backend]
    if config.platform == "ensemble" and config.backend:
        yield Problem(
            field="backend",
            expected="no backend for platform ensemble",
            got=config.backend,
            fix="remove the backend",
        )
    elif config.platform and fitting and any(fitting) and config.platform not in fitting:
        yield Problem(
            field="platform",
            expected=f"{' or '.join(fitting)} for backend {config.backend}",
            got=config.platform,
            fix="remove the platform: the backend alone is enough",
        )


def no_version(subject: Subject) -> Iterator[Problem]:
    """There is no version folder, or the policy selects none."""
    if not subject.versions and (builder := edits.not_built(subject.folder)):
        yield Problem(
            path=subject.folder.path,
            field="",
            expected="a version",
            got=f"none: {builder} was not built yet",
            fix=f"modelport build {subject.name}",
            severity="warning",  # `serve` leaves it out, and refuses it where it is named
        )
    elif not subject.versions:
        what = "an empty folder" if subject.is_ensemble else "the model's file"
        yield Problem(
            path=subject.folder.path,
            field="",
            expected=f"a folder such as 1 with {what}",
            got="no version folder",
            fix=f"mkdir {subject.folder.path / '1'}"
            if subject.is_ensemble
            else "build or import the model",
            repairs=(MakeFolder(subject.folder.version_dir(1)),) if subject.is_ensemble else (),
        )
    elif _latest_none(subject):
        yield Problem(
            field="version_policy.latest.num_versions",
            expected="1 or more",
            got="0, so no version serves",
            fix="state num_versions, or leave version_policy out",
        )


def _latest_none(subject: Subject) -> bool:
    policy = subject.config.version_policy
    return policy is not None and policy.latest is not None and policy.latest.num_versions == 0


def ignored_version(subject: Subject) -> Iterator[Problem]:
    """A folder looks like a version but Triton passes over it."""
    for entry in sorted(p for p in subject.folder.path.iterdir() if p.is_dir()):
        bare = entry.name.lower().removeprefix("version").lstrip("v_-")
        taken = entry.name.isdecimal() and not entry.name.startswith("0")
        if bare.isdecimal() and not taken and entry.name not in _KEPT_FOLDERS:
            yield Problem(
                path=entry,
                field="",
                expected=f"a positive number, such as {int(bare) or 1}",
                got=entry.name,
                fix=f"rename the folder to {int(bare) or 1}",
            )


def absent_version(subject: Subject) -> Iterator[Problem]:
    """The version policy names a version that is not there."""
    policy = subject.config.version_policy
    named = policy.specific.versions if policy and policy.specific else ()
    for index, version in enumerate(named):
        if version not in subject.versions:
            yield Problem(
                field=f"version_policy.specific.versions[{index}]",
                expected=_one_of(subject.versions),
                got=str(version),
                fix="promote a version that exists, or publish this one",
            )


def _one_of(versions: list[int]) -> str:
    return f"one of {', '.join(map(str, versions))}" if versions else "a version folder on disk"


def missing_model_file(subject: Subject) -> Iterator[Problem]:
    """A version lacks the file that its backend loads."""
    if subject.config.cc_model_filenames:
        yield from _missing_by_capability(subject)
        return
    for version, path in subject.model_files():
        if not path.exists() and not _backend_in_model_folder(subject):
            yield Problem(
                path=path,
                field=f"version {version}",
                expected=path.name,
                got=_listing(path.parent),
                fix="copy the file in, build the version again, or set default_model_filename",
            )


def _missing_by_capability(subject: Subject) -> Iterator[Problem]:
    for version in subject.served:
        for capability, name in sorted(subject.config.cc_model_filenames.items()):
            if not (subject.folder.version_dir(version) / name).exists():
                yield Problem(
                    path=subject.folder.version_dir(version) / name,
                    field=f"cc_model_filenames.{capability}",
                    expected=name,
                    got=_listing(subject.folder.version_dir(version)),
                    fix="build the plan for that compute capability, or remove its entry",
                )


def _backend_in_model_folder(subject: Subject) -> bool:
    """A python model may lie beside its versions when ``runtime`` names it."""
    runtime = subject.config.runtime
    return bool(runtime) and (subject.folder.path / runtime).is_file()


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return shown or "an empty folder"


def missing_label_file(subject: Subject) -> Iterator[Problem]:
    """An output names a label file that is not there."""
    for index, output in enumerate(subject.config.output):
        path = subject.folder.path / output.label_filename
        if output.label_filename and not path.is_file():
            yield Problem(
                field=f"output[{index}].label_filename",
                expected=f"the file {path}",
                got="no such file",
                fix="write the class names into it, one a line, or remove the field",
            )
