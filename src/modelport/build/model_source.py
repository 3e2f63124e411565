"""Model folders that people wrote, as Triton takes them: found, and read as declarations."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from google.protobuf import json_format
from pydantic import ValidationError
from tritonclient.grpc import model_config_pb2

from modelport.build.loader import invalid_field
from modelport.build.model_files import CODE
from modelport.errors import ConfigError, RepositoryError
from modelport.repository import pbtxt
from modelport.repository.doctor.backends import backend_of
from modelport.repository.doctor.calls import calls
from modelport.repository.doctor.site import BYTECODE
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.serving.onnx import completion
from modelport.serving.onnx.graph import Graph
from modelport.spec.config import ModelConfig, ModelInput, ModelOutput
from modelport.spec.model import Ensemble, Kind, Model, OnnxModel, PythonModel, Step
from modelport.spec.parts import Datatype, Tensor, Tolerance
from modelport.verify import in_process

# What can be proven, by the backend that runs it.
_KINDS: dict[str, Kind] = {"onnxruntime": "onnx", "python": "python"}
# What Triton takes for max_batch_size where it completes a configuration.
_COMPLETED_BATCH = 4


@dataclass(frozen=True)
class ModelSource:
    """One version of a model folder.

    Attributes:
        folder: config.pbtxt and version folders.
        version: which of them.
        inside: whether it lies in the repository that it is to be published in.
        config: what its config.pbtxt says.
    """

    folder: ModelFolder
    version: int
    inside: bool
    config: ModelConfig

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """Folder of the version."""
        return self.folder.version_dir(self.version)

    @property
    def proven(self) -> bool:
        """Whether it lies in the repository with its manifest."""
        return self.inside and self.folder.is_proven(self.version)

    @cached_property
    def runs(self) -> frozenset[str]:
        """Models that answer a part of each request: steps, and what the code asks by name."""
        code = self.path / (self.config.default_model_filename or CODE)
        try:
            tree = ast.parse(code.read_bytes()) if self.kind == "python" else ast.Module([], [])
        except (OSError, SyntaxError, ValueError):  # `doctor` says more
            return self.config.runs
        return self.config.runs | {call.model for call in calls(tree)}

    @cached_property
    def kind(self) -> Kind:
        """What runs it.

        Raises:
            ConfigError: nothing that Modelport brings does.
        """
        if self.config.ensemble_scheduling is not None or self.config.platform == "ensemble":
            return "ensemble"
        backend = backend_of(self.config, [entry.name for entry in self.path.iterdir()])
        if backend is not None and backend.name in _KINDS:
            return _KINDS[backend.name]
        named = self.config.backend or self.config.platform
        raise ConfigError(
            f"{self.folder.config_path}: "
            + (f"it runs on {named!r}" if named else "it names no backend")
            + ", and what is published here runs on onnxruntime, on python or as an ensemble",
            cause="the tritonserver that proves models brings no other backend",
            next_step="export it to ONNX" if named else 'add backend: "onnxruntime" or "python"',
            path=self.folder.config_path,
            field="backend",
        )

    @property
    def model_file(self) -> Path:
        """The ONNX file."""
        path = self.path / (self.config.default_model_filename or "model.onnx")
        return path / "model.onnx" if path.is_dir() else path

    def files(self) -> dict[str, Path]:
        """Give what lies in the version folder: path to file, without what writes itself."""
        found = {p.relative_to(self.path): p for p in sorted(self.path.rglob("*")) if p.is_file()}
        return {
            path.as_posix(): file
            for path, file in found.items()
            if BYTECODE not in path.parts and not any(part[0] == "." for part in path.parts)
        }

    def left_behind(self, taken: Collection[str]) -> list[str]:
        """Name what lies beside the version folders and is not taken along."""
        roots = {CONFIG, BYTECODE, *(name.partition("/")[0] for name in taken)}
        names = sorted(entry.name for entry in self.folder.path.iterdir())
        return [n for n in names if n not in roots and not n.isdecimal() and n[0] != "."]

    @property
    def reshapes(self) -> bool:
        """Whether clients see other shapes than the backend."""
        config = self._complete
        return any(t.reshape for t in config.input) or any(t.reshape for t in config.output)

    def model(self, tolerance: Tolerance) -> Model:
        """Declare it as a builder would.

        Raises:
            ConfigError: it is of a kind that cannot be proven.
            BuilderError: a value of config.pbtxt means nothing.
        """
        try:
            return self._model(self._fields(tolerance))
        except ValidationError as error:
            raise invalid_field(self.folder.config_path, error) from error

    def _fields(self, tolerance: Tolerance) -> dict[str, Any]:
        config = self._complete
        if not (config.input and config.output):
            raise ConfigError(
                f"{self.folder.config_path}: it names no {'output' if config.input else 'input'},"
                " so nobody can ask it",
                next_step="write input and output into it",
                path=self.folder.config_path,
                field="output" if config.input else "input",
            )
        return {
            "name": self.name,
            "inputs": tuple(map(_tensor, config.input)),
            "outputs": tuple(map(_tensor, config.output)),
            "max_batch_size": config.max_batch_size,
            "tolerance": tolerance,
            "doc": f"Published from the folder {self.name}.",
        }

    def _model(self, fields: dict[str, Any]) -> Model:
        config = self.config
        policy = config.model_transaction_policy
        decoupled = policy is not None and policy.decoupled
        if self.kind == "python":
            sequence = config.sequence_batching
            if sequence and not config.max_batch_size:
                raise self.unprovable("sequence_batching with max_batch_size 0")
            return PythonModel(
                **fields,
                reference=_recorded,
                calls=tuple(sorted(self.runs)),
                decoupled=decoupled,
                sequence=sequence,
            )
        if config.sequence_batching or decoupled:
            raise self.unprovable("sequence_batching" if config.sequence_batching else "decoupled")
        if self.kind == "onnx":
            return OnnxModel(**fields, file=self.model_file.resolve())
        steps = config.ensemble_scheduling.step if config.ensemble_scheduling else ()
        return Ensemble(
            **fields,
            steps=tuple(Step(s.model_name, s.input_map, s.output_map) for s in steps),
        )

    def unprovable(self, what: str) -> ConfigError:
        """Say that a way of answering cannot be proven."""
        return ConfigError(
            f"{self.folder.config_path}: {what} of {self.kind} models cannot be proven",
            cause="it is proven for python models that batch",
            next_step="serve the folder as it is: modelport serve --repository"
            f" {self.folder.path.parent}",
            path=self.folder.config_path,
        )

    @cached_property
    def _complete(self) -> ModelConfig:
        """The configuration, with what Triton completes from an ONNX graph."""
        message = pbtxt.to_message(self.config)
        plain = json_format.MessageToDict(message, preserving_proto_field_name=True)
        if self.kind != "onnx" or completion.is_complete(plain):
            return self.config
        plain.setdefault("max_batch_size", 0)
        graph = Graph.of(in_process.session(self.model_file))
        completion.complete(plain, graph, default_max_batch_size=_COMPLETED_BATCH)
        return pbtxt.from_message(json_format.ParseDict(plain, model_config_pb2.ModelConfig()))


def find(
    text: str,
    repository: Repository,
    versions: Mapping[str, int],
    default: int | None = None,
) -> ModelSource:
    """Find what a user names: a model of the repository, or a folder anywhere.

    Args:
        text: a name or a path.
        repository: where it is to be published.
        versions: model to version, for those that the user chose.
        default: the version of any other; what Triton would serve when missing.

    Raises:
        RepositoryError: there is no such folder or version.
        ConfigError: it has no config.pbtxt, or one that does not parse.
    """
    path = Path(text)
    if path.name == text and (repository.path / text).is_dir():
        path = repository.path / text
    folder = ModelFolder(path.resolve())
    _check_folder(text, folder, repository)
    inside = folder.path.parent == repository.path.resolve()
    config = folder.config()
    return ModelSource(folder, _version(folder, versions.get(folder.name, default)), inside, config)


def of_repository(folder: ModelFolder, version: int) -> ModelSource:
    """Take a version of the repository as it was proven."""
    return ModelSource(folder, version, inside=True, config=folder.config_of(version))


def _check_folder(text: str, folder: ModelFolder, repository: Repository) -> None:
    if folder.config_path.is_file():
        return
    path = Path(text)
    if path.is_file():
        raise RepositoryError(
            f"{text} is a file; expected a model folder, with config.pbtxt and version folders",
            next_step=f"modelport import {text} --name NAME"
            if path.suffix == ".onnx"
            else f"modelport publish {path.parent}",
            path=path,
        )
    if folder.path.is_dir():
        within = sorted(p.parent.name for p in folder.path.glob(f"*/{CONFIG}"))
        raise ConfigError(
            f"{folder.path}: there is no {CONFIG}",
            cause="it is a repository, not a model" if within else None,
            next_step="name its models: modelport publish "
            + " ".join(f"{text.rstrip('/')}/{name}" for name in within[:5])
            if within
            else f"write {CONFIG}; for an ONNX file alone: modelport import FILE --name NAME",
            path=folder.path,
        )
    known = [m.name for m in repository.models()] if repository.path.is_dir() else []
    near = difflib.get_close_matches(text, known, n=2)
    raise RepositoryError(
        f"{text}: there is no such folder, and no such model in {repository.path}",
        cause=f"did you mean {' or '.join(near)}?" if near else None,
        next_step="give the path of a model folder: config.pbtxt with version folders beside it",
        path=path,
    )


def _version(folder: ModelFolder, chosen: int | None) -> int:
    """Choose the version: the one asked for, or what Triton would serve."""
    there = folder.versions()
    if chosen is None:
        served = folder.served_versions()
        if served:
            return served[-1]
    elif chosen in there:
        return chosen
    known = ", ".join(map(str, there)) or "none"
    wanted = "that its version_policy names" if chosen is None else str(chosen)
    raise RepositoryError(
        f"{folder.path}: there is no version {wanted if there or chosen else 'folder'}",
        cause=f"it has {known}",
        next_step="--version N takes another one" if there else "put the model's file into 1/",
        path=folder.path,
        version=chosen,
    )


def _tensor(declared: ModelInput | ModelOutput) -> Tensor:
    spelled = declared.data_type.removeprefix("TYPE_")
    datatype = cast(Datatype, "BYTES" if spelled == "STRING" else spelled)
    optional = isinstance(declared, ModelInput) and declared.optional
    return Tensor(declared.name, datatype, tuple(declared.dims), optional=optional)


def _recorded(*_: object) -> dict[str, Any]:
    """Stand where a builder gives a function: a folder's code is held against recorded answers."""
    raise AssertionError("only what people recorded says how this model must answer")
