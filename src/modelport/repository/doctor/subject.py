"""One model as the rules see it: its folder, its configuration, its graphs, its neighbours."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from modelport.errors import ConfigError, IntegrityError, RepositoryError
from modelport.repository import onnx_graph, pbtxt
from modelport.repository.doctor.backends import Backend, backend_of
from modelport.repository.doctor.hardware import Machine
from modelport.repository.doctor.server_options import ServerOptions
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest
from modelport.repository.onnx_graph import OnnxGraph
from modelport.spec.config import ModelConfig


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

    @property
    def config_error(self) -> ConfigError | None:
        """Why config.pbtxt cannot be read, None where it can or is missing."""
        return self._config if isinstance(self._config, ConfigError) else None

    @property
    def config_or_none(self) -> ModelConfig | None:
        """The configuration, None where it is missing or cannot be read."""
        return self._config if isinstance(self._config, ModelConfig) else None

    @cached_property
    def _config(self) -> ModelConfig | ConfigError | None:
        if not self.folder.config_path.is_file():
            return None
        try:
            return pbtxt.read(self.folder.config_path)
        except ConfigError as error:
            return error

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
    def entries(self) -> list[Path]:
        """What lies in the model's folder, by name."""
        return sorted(self.folder.path.iterdir())

    @cached_property
    def versions(self) -> list[int]:
        """Version folders on disk."""
        return self.folder.versions()

    @cached_property
    def served(self) -> list[int]:
        """Versions on disk that the version policy selects."""
        return self.folder.served_versions(self.config)

    @cached_property
    def manifests(self) -> dict[int, Manifest | IntegrityError]:
        """The manifest of every version that has one, or why it cannot be read."""
        folders = {version: self.folder.version_dir(version) for version in self.versions}
        return {v: _manifest(path) for v, path in folders.items() if (path / MANIFEST).is_file()}

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

    def sources(self) -> list[Path]:
        """Give the model.py of every served version of a Python model that has one."""
        if self.config_or_none is None or self.backend is None or self.backend.name != "python":
            return []
        found = [path for _, path in self.model_files() if path.suffix == ".py"]
        if not self.versions:  # code that was not published yet lies beside config.pbtxt
            found.append(self.folder.path / "model.py")
        return [path for path in found if path.is_file()]

    def tree(self, path: Path) -> ast.Module | SyntaxError:
        """Parse a Python file once."""
        if path not in self._trees:
            self._trees[path] = _parse(path)
        return self._trees[path]

    @cached_property
    def _trees(self) -> dict[Path, ast.Module | SyntaxError]:
        return {}

    def trees(self) -> Iterator[tuple[Path, ast.Module]]:
        """Give the model.py of every served version, as far as it parses."""
        for path in self.sources():
            tree = self.tree(path)
            if isinstance(tree, ast.Module):
                yield path, tree

    def forget(self) -> None:
        """Let go of what only rules about this model need; a repository can be large."""
        for name in ("manifests", "_trees", "_texts"):
            self.__dict__.pop(name, None)

    def text(self, path: Path) -> str | None:
        """Read a text of the model once; None where it is missing or no UTF-8."""
        if path not in self._texts:
            try:
                self._texts[path] = pbtxt.read_text(path)
            except ConfigError:
                self._texts[path] = None
        return self._texts[path]

    @cached_property
    def _texts(self) -> dict[Path, str | None]:
        return {}


@dataclass(frozen=True)
class Site:
    """A repository under examination, and how its server is started where that is known."""

    repository: Path
    subjects: Mapping[str, Subject]
    options: ServerOptions | None = None


def _manifest(folder: Path) -> Manifest | IntegrityError:
    try:
        return Manifest.read(folder)
    except IntegrityError as error:
        return error


def _parse(path: Path) -> ast.Module | SyntaxError:
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        return error
    except ValueError as error:  # a null byte
        return SyntaxError(str(error))


def _read_graph(path: Path) -> OnnxGraph | RepositoryError | None:
    if not path.is_file():
        return None
    try:
        return onnx_graph.read(path)
    except (IntegrityError, RepositoryError) as error:
        return error
