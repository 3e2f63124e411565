"""What lies beside the versions of a model and may change: config.pbtxt and what it refers to.

Code is not among it: what runs lies in the versions, where the manifest lists it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import ConfigError, IntegrityError
from modelport.repository import edits, pbtxt
from modelport.repository.layout import CONFIG, ModelFolder
from modelport.repository.manifest import Manifest
from modelport.repository.stores.contents import StoredModel
from modelport.repository.stores.store import Fingerprint, Store, holds
from modelport.spec.config import ModelConfig, ModelVersionPolicy, SpecificVersions


@dataclass(frozen=True)
class Face:
    """The files, by path inside the model folder; config.pbtxt names its versions.

    Attributes:
        source: config.pbtxt as it lies on disk, before its versions were named.
    """

    files: dict[str, bytes]
    source: bytes = b""

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of each file."""
        return {path: Fingerprint.of(content).sha256 for path, content in self.files.items()}

    @property
    def text(self) -> str:
        """The text of config.pbtxt."""
        return self.files[CONFIG].decode("utf-8")

    def config(self, where: Path | None = None) -> ModelConfig:
        """Read config.pbtxt; raises :class:`ConfigError`."""
        return pbtxt.parse(self.text, path=where)

    def serves(self) -> tuple[int, ...]:
        """Versions that it names."""
        policy = self.config().version_policy
        return policy.specific.versions if policy and policy.specific else ()

    def same_but_for_versions(self, other: Face) -> bool:
        """Say whether they differ in nothing but which versions serve."""
        mine, theirs = dict(self.files), dict(other.files)
        del mine[CONFIG], theirs[CONFIG]
        return mine == theirs and _anywhere(self.config()) == _anywhere(other.config())


def of_folder(folder: ModelFolder, versions: Sequence[int]) -> Face | None:
    """Give the face that a model has, or would have with these versions; None without config.pbtxt.

    Raises:
        ConfigError: config.pbtxt does not parse, or refers to a file that is not there.
    """
    path = folder.config_path
    if not path.is_file():
        return None
    text = pbtxt.read_text(path)
    config = pbtxt.parse(text, path=path)
    files = {CONFIG: explicit(path, config, config.serves(versions)).encode()}
    for name in sorted(referred(config)):
        file = folder.path / name
        if not file.is_file() or not file.resolve().is_relative_to(folder.path.resolve()):
            raise ConfigError(
                f"{path}: it refers to {name}, which is not in the model's folder",
                next_step=f"put it there; modelport doctor {folder.name} says more",
                path=path,
            )
        files[name] = file.read_bytes()
    return Face(files, text.encode())


def of_store(store: Store, model: StoredModel) -> Face | None:
    """Fetch the face of a model; None without config.pbtxt.

    Raises:
        IntegrityError: it is damaged, does not parse, or names another model.
    """
    if CONFIG not in model.beside:
        return None
    where = f"{store.url}/{model.name}/{CONFIG}"
    try:
        text = store.read(model.beside[CONFIG].key).decode("utf-8")
        config = pbtxt.parse(text)
    except (ConfigError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"{where}: it does not parse: {error}",
            cause="it was damaged, or edited by hand",
            next_step=f"modelport push {model.name}, from a repository that is right",
            key=where,
        ) from error
    if config.name not in {"", model.name}:
        raise IntegrityError(
            f"{where}: it is that of the model {config.name!r}",
            cause="somebody copied or renamed a folder in the store",
            key=where,
        )
    paths = sorted(referred(config) & model.beside.keys())
    labels = {path: store.read(model.beside[path].key) for path in paths}
    return Face({CONFIG: text.encode(), **labels})


def lies_there(face: Face, store: Store, model: StoredModel) -> bool:
    """Say whether a store has just this face; mostly its listing is enough to tell."""
    there = {path: item for path, item in model.beside.items() if path in face.files}
    return there.keys() == face.files.keys() and all(
        holds(store, item, face.files[path]) for path, item in there.items()
    )


def explicit(path: Path, config: ModelConfig, versions: Sequence[int]) -> str:
    """Give the text of a config.pbtxt that names the versions which serve, all else as it is."""
    policy = config.version_policy
    if policy is not None and policy.specific is not None:
        return pbtxt.read_text(path)
    specific = SpecificVersions(versions=tuple(versions))
    return edits.with_version_policy(path, ModelVersionPolicy(specific=specific))


def referred(config: ModelConfig) -> set[str]:
    """Name the files beside the versions that a configuration speaks of."""
    found = {output.label_filename for output in config.output}
    for warmup in config.model_warmup:
        inputs = warmup.inputs.values()
        found |= {f"warmup/{i.input_data_file}" for i in inputs if i.input_data_file}
    for state in config.sequence_batching.state if config.sequence_batching else ():
        found |= {f"initial_state/{i.data_file}" for i in state.initial_state if i.data_file}
    return {path for path in found - {""} if ".." not in path.split("/") and path[0] != "/"}


def problem(face: Face, manifests: Iterable[Manifest], own: Iterator[bytes | None]) -> str | None:
    """Say what of a face no version that serves was proven with; None when all is well.

    Versions that were published without their configuration say nothing of it.

    Args:
        face: of the model.
        manifests: of the versions that serve.
        own: for each of them, its own config.pbtxt; None where it has none.
    """
    complaint = None
    for manifest, text in zip(manifests, own, strict=True):
        complaint = None if text is None else _differs(face, manifest, text)
        if complaint is None:
            return None
    return complaint


def _differs(face: Face, manifest: Manifest, own: bytes) -> str | None:
    listed = {entry.path: entry.sha256 for entry in manifest.files}
    if _anywhere(pbtxt.parse(own.decode("utf-8"))) != _anywhere(face.config()):
        return f"{CONFIG} differs from that of version {manifest.version}, in more than versions"
    for path, content in face.files.items():
        if path != CONFIG and listed.get(path, "") != Fingerprint.of(content).sha256:
            return f"{path} is not the one that version {manifest.version} was proven with"
    return None


def _anywhere(config: ModelConfig) -> ModelConfig:
    return dataclasses.replace(config, version_policy=None)
