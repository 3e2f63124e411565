"""What is loaded, and in which order: parts side by side, then the ensembles over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import RepositoryError
from modelport.repository.layout import ModelFolder, Repository
from modelport.spec.config import ModelConfig


@dataclass(frozen=True)
class Model:
    """A model to load.

    Attributes:
        config: its config.pbtxt; None where there is none and Triton completes it.
        parts: the models that it is an ensemble of, or that its code calls.
        instead: the version that is loaded where it is not the one that config.pbtxt names; then
            ``config`` is what it is loaded with. See :mod:`modelport.runtime.stand_ins`.
        in_place_of: the one that config.pbtxt names then.
    """

    name: str
    folder: ModelFolder
    config: ModelConfig | None
    parts: frozenset[str]
    instead: int | None = None
    in_place_of: int | None = None

    @property
    def override(self) -> ModelConfig | None:
        """What Triton is given in place of config.pbtxt; None where that holds."""
        return self.config if self.instead is not None else None

    def versions(self) -> list[int]:
        """Versions that are loaded, ascending."""
        return self.folder.served_versions() if self.instead is None else [self.instead]

    @property
    def complete(self) -> bool:
        """Say whether Triton need not ask the backend what inputs and outputs there are."""
        config = self.config
        if config is None:
            return False
        return bool((config.backend or config.platform) and config.input and config.output)

    @property
    def code_file(self) -> str:
        """Name of the file that a Python model's code is in."""
        return (self.config.default_model_filename if self.config else "") or "model.py"

    def lacking_code(self) -> list[int]:
        """List the versions of a Python model that would be served but have no code."""
        if self.config is None or self.config.backend != "python":
            return []
        versions = self.versions()
        return [v for v in versions if not (self.folder.version_dir(v) / self.code_file).is_file()]


@dataclass(frozen=True)
class Plan:
    """The models to load, by name."""

    models: dict[str, Model]

    def waves(self) -> list[list[str]]:
        """Group the models so that each group needs only those before it."""
        waves: list[list[str]] = []
        rest = dict(self.models)
        while rest:
            # A part that is not in the repository is Triton's to complain about.
            wave = sorted(name for name, model in rest.items() if not model.parts & rest.keys())
            if not wave:
                raise RepositoryError(
                    f"ensembles {', '.join(sorted(rest))} are made of one another",
                    next_step="mend the ensemble_scheduling of one of them",
                    models=sorted(rest),
                )
            waves.append(wave)
            for name in wave:
                del rest[name]
        return waves

    def users(self, part: str) -> list[str]:
        """Name the ensembles that contain ``part``, those inside others first."""
        using = {part}
        for wave in self.waves():
            using |= {name for name in wave if self.models[name].parts & using}
        return [name for wave in self.waves() for name in wave if name in using - {part}]

    def stand_ins(self) -> list[Model]:
        """List the models that are loaded in another version than config.pbtxt says."""
        return [model for model in self.models.values() if model.instead is not None]

    @property
    def complete(self) -> bool:
        """Say whether every config is complete, so that auto-completion can be off."""
        return all(model.complete for model in self.models.values())

    @property
    def wants_cache(self) -> bool:
        """Say whether a model asks for the response cache."""
        configs = (model.config for model in self.models.values())
        return any(c is not None and c.response_cache and c.response_cache.enable for c in configs)


def make(paths: Sequence[Path], names: Sequence[str] | None = None) -> Plan:
    """Plan the load of some repositories.

    Args:
        paths: the model repositories.
        names: the models to load, with the parts of ensembles; None for all.

    Raises:
        RepositoryError: a repository or model is missing, or a name stands for two models.
        ConfigError: a config.pbtxt does not parse.
    """
    folders = _folders(paths)
    wanted = list(folders) if names is None else list(names)
    models: dict[str, Model] = {}
    while wanted:
        name = wanted.pop()
        if name in models:
            continue
        if name not in folders:
            Repository(Path(paths[0])).model(name)  # raises, naming the nearest ones
            continue
        models[name] = _model(folders[name])
        wanted += [part for part in models[name].parts if part in folders]
    return Plan(dict(sorted(models.items())))


def _folders(paths: Sequence[Path]) -> dict[str, ModelFolder]:
    folders: dict[str, ModelFolder] = {}
    for path in paths:
        for folder in Repository(Path(path)).models():
            if folder.name in folders:
                raise RepositoryError(
                    f"model {folder.name!r} is in {folders[folder.name].path} and in {folder.path}",
                    cause="Triton serves neither when a name stands for two models",
                    next_step="rename or move one of them",
                    model=folder.name,
                )
            folders[folder.name] = folder
    return folders


def _model(folder: ModelFolder) -> Model:
    config = folder.config() if folder.config_path.is_file() else None
    return Model(folder.name, folder, config, config.runs if config else frozenset())
