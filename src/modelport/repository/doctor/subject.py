"""One model as the rules see it: its folder, its configuration, its graphs, its neighbours."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from modelport.errors import ConfigError, IntegrityError, RepositoryError
from modelport.repository import onnx_graph, pbtxt
from modelport.repository.doctor.backends import Backend, backend_of
from modelport.repository.layout import ModelFolder
from modelport.repository.onnx_graph import OnnxGraph
from modelport.spec.config import ModelConfig


@dataclass(frozen=True)
class Machine:
    """What instance groups can use here."""

    cores: int
    gpus: int

    @classmethod
    def detect(cls) -> Machine:
        """Count the cores that this process may use and the GPUs that CUDA would show it."""
        return cls(cores=len(os.sched_getaffinity(0)), gpus=_visible_gpus())


def _visible_gpus() -> int:
    present = len(list(Path("/dev").glob("nvidia[0-9]*")))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return present
    listed = [device for device in shown.split(",") if device.strip() not in ("", "-1")]
    return min(present, len(listed))


@dataclass(frozen=True)
class Subject:
    """A model under examination; everything is read once, when first asked for."""

    folder: ModelFolder
    machine: Machine
    digest_files: bool = True
    neighbours: Mapping[str, Subject] = field(default_factory=dict, repr=False)
    """All models of the repository, by folder name."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @cached_property
    def config_error(self) -> ConfigError | None:
        """Why config.pbtxt cannot be read, None where it can or is missing."""
        if not self.folder.config_path.is_file():
            return None
        try:
            pbtxt.read(self.folder.config_path)
        except ConfigError as error:
            return error
        return None

    @cached_property
    def config_or_none(self) -> ModelConfig | None:
        """The configuration, None where it is missing or cannot be read."""
        if self.config_error or not self.folder.config_path.is_file():
            return None
        return self.folder.config()

    @property
    def config(self) -> ModelConfig:
        """The configuration, for rules that run only where there is one."""
        assert self.config_or_none is not None
        return self.config_or_none

    @property
    def is_ensemble(self) -> bool:
        """Whether the model is a pipeline of others."""
        return self.config.ensemble_scheduling is not None or self.config.platform == "ensemble"

    @cached_property
    def backend(self) -> Backend | None:
        """The backend that runs the model, None for an ensemble or one that is not known."""
        files = [entry.name for v in self.served for entry in self.folder.version_dir(v).iterdir()]
        return backend_of(self.config, files)

    @cached_property
    def versions(self) -> list[int]:
        """Version folders on disk."""
        # Triton passes over 02, which int() would take for 2.
        return [v for v in self.folder.versions() if self.folder.version_dir(v).is_dir()]

    @cached_property
    def served(self) -> list[int]:
        """Versions on disk that the version policy selects."""
        return [v for v in self.folder.served_versions() if v in self.versions]

    def model_files(self) -> Iterable[tuple[int, Path]]:
        """Give each served version with the file that its backend would load."""
        usual = self.backend.model_file if self.backend else ""
        name = self.config.default_model_filename or usual
        return [(v, self.folder.version_dir(v) / name) for v in self.served] if name else []

    def graph(self, path: Path) -> OnnxGraph | RepositoryError | None:
        """Read an ONNX file once; gives the error where that fails, None where there is no file."""
        if path.is_dir():  # the onnxruntime backend loads model.onnx/model.onnx
            path /= "model.onnx"
        if path not in self._graphs:
            self._graphs[path] = _read_graph(path)
        return self._graphs[path]

    @cached_property
    def _graphs(self) -> dict[Path, OnnxGraph | RepositoryError | None]:
        return {}

    def graphs(self) -> list[tuple[Path, OnnxGraph]]:
        """Give the graphs of the served versions that could be read."""
        if self.backend is None or self.backend.name != "onnxruntime":
            return []
        read = [(path, self.graph(path)) for _, path in self.model_files()]
        return [(path, graph) for path, graph in read if isinstance(graph, OnnxGraph)]


def _read_graph(path: Path) -> OnnxGraph | RepositoryError | None:
    if not path.is_file():
        return None
    try:
        return onnx_graph.read(path)
    except (IntegrityError, RepositoryError) as error:
        return error
