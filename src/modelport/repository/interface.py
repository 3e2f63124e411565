"""What those who call a model must know of it: its tensors, what they mean, and how it answers.

An interface is read from a repository: config.pbtxt and the label files say how the tensors look,
and the manifest of a version what they mean. Of a model that was never built, or that others
wrote, there is a config.pbtxt alone: then nobody says what its tensors mean, and
:attr:`Interface.described` is false. Clients and documents are generated from interfaces, and
two of them compared say whether a new version breaks those that there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from modelport.errors import ConfigError, IntegrityError, RepositoryError
from modelport.repository import digests
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import Manifest, MeaningEntry, first_problem
from modelport.spec.config import ModelConfig
from modelport.spec.model import Model
from modelport.spec.parts import Content, Datatype, Tensor
from modelport.spec.tensors import ModelInput, ModelOutput

# What the words of an interface are; the rest of it is what programs rely on.
_WORDS = {"doc", "limits"}
_MEANING = {"unit", "minimum", "maximum", "content", "values", "instead_of"}
# Up to here every whole number is a float.
_EXACT = 2**53


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorInterface(_Part):
    """One input or output.

    Attributes:
        name: as the server calls it.
        datatype: as the V2 protocol spells it: ``FP32``, ``BYTES``, …
        dims: shape of one item, without the batch; -1 for a dimension that varies.
        optional: a request may leave it out.
        labels: names of the classes along the last dimension.
        doc: what it means, in words.
        unit: of its numbers.
        minimum: the least value; ``None`` where nobody says.
        maximum: the greatest.
        content: what the bytes of a BYTES tensor are: text, image, json, file; "" for unknown.
        values: all texts that there are, where they are few.
        instead_of: the optional input that it stands in for; a request has one of the two.
    """

    name: str
    datatype: Datatype
    dims: tuple[Annotated[int, Field(ge=-1)], ...]
    optional: bool = False
    labels: tuple[str, ...] = ()
    doc: str = ""
    unit: str = ""
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    content: Content = ""
    values: tuple[str, ...] = ()
    instead_of: str = ""

    @property
    def scalar(self) -> bool:
        """Whether an item has one value."""
        return self.dims in ((), (1,))


class Interface(_Part):
    """All that a caller of one model must know.

    Attributes:
        model: its name.
        version: that it was read from; ``None`` without one, and no part of any digest.
        described: whether its builder says what the tensors mean.
        doc: one sentence for people.
        limits: what it is not good for.
        max_batch_size: 0 for a model that does not batch, whose ``dims`` are whole shapes.
        decoupled: a request is answered by a stream of responses.
        stateful: requests belong to sequences.
        inputs: what a request carries.
        outputs: what an answer carries.
    """

    model: str
    version: int | None = None
    described: bool = False
    doc: str = ""
    limits: tuple[str, ...] = ()
    max_batch_size: Annotated[int, Field(ge=0)] = 0
    decoupled: bool = False
    stateful: bool = False
    inputs: tuple[TensorInterface, ...]
    outputs: tuple[TensorInterface, ...]

    @property
    def batching(self) -> bool:
        """Whether tensors have the batch before their ``dims``."""
        return self.max_batch_size > 0

    @cached_property
    def digest(self) -> str:
        """Digest of everything but the version."""
        return digests.of_value(self.model_dump(mode="json", exclude={"version"}))

    @cached_property
    def tensors_digest(self) -> str:
        """Digest of what config.pbtxt and the label files say, without words and meaning."""
        whole = self.model_dump(mode="json", exclude={"version", "described", *_WORDS})
        for tensor in (*whole["inputs"], *whole["outputs"]):
            for name in _WORDS | _MEANING:
                tensor.pop(name, None)
        return digests.of_value(whole)

    def as_json(self) -> dict[str, Any]:
        """Give it for programs; :func:`parse` reads it back."""
        found = self.model_dump(mode="json")
        for side in ("inputs", "outputs"):
            found[side] = [
                {n: v for n, v in tensor.items() if n == "dims" or v not in ("", None, [])}
                for tensor in found[side]
            ]
        return found


def read(repository: Repository, name: str, version: int | None = None) -> Interface:
    """Read the interface of a model.

    Args:
        repository: where it lies.
        name: of the model.
        version: the one that serves by default; of a model without any, its config.pbtxt.

    Raises:
        RepositoryError: there is no such model or version.
        ConfigError: config.pbtxt is missing, does not parse, or leaves tensors to Triton.
        IntegrityError: a manifest is not what the schema says.
    """
    folder = repository.model(name)
    if version is None:
        config = folder.config() if folder.config_path.is_file() else None
        version = next(iter(folder.served_versions(config)[-1:]), None)
    elif version not in folder.versions():
        known = ", ".join(map(str, folder.versions())) or "none"
        raise RepositoryError(
            f"{folder.path}: there is no version {version}; there are {known}",
            next_step=f"modelport versions {name} --repository {repository.path}",
            model=name,
            version=version,
        )
    config = folder.config() if version is None else folder.config_of(version)
    proven = version is not None and folder.is_proven(version)
    manifest = folder.manifest(version) if proven and version is not None else None
    return _of_config(folder, config, version, manifest)


def public(repository: Repository) -> list[Interface]:
    """Read the interfaces of all models that people call, by name.

    A manifest says whether they do; of a model without one it is assumed where no other model of
    the repository runs or calls it.

    Raises:
        RepositoryError: as for :func:`read`.
    """
    folders = repository.models()
    configs = {f.name: f.config() if f.config_path.is_file() else None for f in folders}
    parts = {name for config in configs.values() if config for name in config.runs}
    return [read(repository, f.name) for f in folders if _is_public(f, configs[f.name], parts)]


def declared(model: Model) -> Interface:
    """Give the interface that a builder declares, of a model that may never have been built."""
    config = model.config()
    return Interface(
        model=model.name,
        described=True,
        doc=model.doc,
        limits=model.limits,
        **_answering(config),
        inputs=tuple(_declared(tensor) for tensor in model.inputs),
        outputs=tuple(_declared(tensor) for tensor in model.outputs),
    )


def parse(content: bytes | str, where: str) -> list[Interface]:
    """Read what :meth:`Interface.as_json` gave, of one model or a list of them.

    Raises:
        RepositoryError: it is no such thing; the message names the field.
    """
    try:
        found = json.loads(content)
        return [Interface(**one) for one in (found if isinstance(found, list) else [found])]
    except (ValueError, TypeError) as error:
        problem = str(error)
        if isinstance(error, ValidationError):
            problem = "field {}: {}".format(*first_problem(error))
        raise RepositoryError(
            f"{where}: is no interface: {problem}",
            next_step="modelport schema show NAME --json writes one",
            path=where,
        ) from error


def _is_public(folder: ModelFolder, config: ModelConfig | None, parts: set[str]) -> bool:
    version = next(iter(folder.served_versions(config)[-1:]), None)
    if version is not None and folder.is_proven(version):
        return folder.manifest(version).public
    return folder.name not in parts


def _of_config(
    folder: ModelFolder, config: ModelConfig, version: int | None, manifest: Manifest | None
) -> Interface:
    if not (config.input and config.output):
        raise ConfigError(
            f"{folder.config_path}: names no {'inputs' if config.output else 'outputs'}",
            cause="Triton completes them when it loads the model, and tells nobody else",
            next_step="write `input` and `output` into it; GET /v2/models/NAME/config has them",
            path=folder.config_path,
            model=folder.name,
        )
    tensors = manifest.tensors if manifest else None
    inputs, outputs = (tensors.inputs, tensors.outputs) if tensors else ({}, {})
    return Interface(
        model=folder.name,
        version=version,
        described=tensors is not None,
        doc=manifest.doc if manifest else "",
        limits=tuple(manifest.limits) if manifest else (),
        **_answering(config),
        inputs=tuple(
            _tensor(one, config, inputs.get(one.name), optional=one.optional)
            for one in config.input
        ),
        outputs=tuple(
            _tensor(one, config, outputs.get(one.name), labels=_labels(folder, version, one))
            for one in config.output
        ),
    )


def _answering(config: ModelConfig) -> dict[str, Any]:
    policy = config.model_transaction_policy
    return {
        "max_batch_size": config.max_batch_size,
        "decoupled": bool(policy and policy.decoupled),
        "stateful": config.sequence_batching is not None,
    }


def _tensor(
    one: ModelInput | ModelOutput,
    config: ModelConfig,
    meaning: MeaningEntry | None,
    **more: Any,
) -> TensorInterface:
    spelled = one.data_type.removeprefix("TYPE_")
    if spelled == "INVALID":
        raise ConfigError(
            f"model {config.name!r}: the tensor {one.name!r} has no data_type",
            next_step="write it into config.pbtxt",
            model=config.name,
            tensor=one.name,
        )
    means = meaning or MeaningEntry()
    fields = {name: getattr(means, name) for name in MeaningEntry.model_fields}
    datatype: Any = "BYTES" if spelled == "STRING" else spelled
    return TensorInterface(name=one.name, datatype=datatype, dims=one.dims, **more, **fields)


def _labels(folder: ModelFolder, version: int | None, output: ModelOutput) -> tuple[str, ...]:
    if not output.label_filename:
        return ()
    name = PurePosixPath(output.label_filename)
    if name.is_absolute() or ".." in name.parts:  # a repository may come from anywhere
        raise IntegrityError(
            f"model {folder.name!r}: the labels of {output.name!r} lie outside its folder:"
            f" {output.label_filename!r}",
            next_step="put the file into the model's folder, and its name into label_filename",
            model=folder.name,
            tensor=output.name,
        )
    own = folder.version_dir(version) / name if version else None
    path = own if own and own.is_file() else folder.path / name
    return tuple(_lines(path))


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"{path}: the labels cannot be read: {error}",
            next_step="modelport doctor; then build the model again",
            path=path,
        ) from error


def _declared(tensor: Tensor) -> TensorInterface:
    fields = {name: getattr(tensor, name) for name in TensorInterface.model_fields}
    return TensorInterface(**fields)


def number(bound: float) -> str:
    """Show a bound with all its digits; a whole number without a point, as far as it is exact."""
    exact = float(bound).is_integer() and abs(bound) <= _EXACT
    return str(int(bound)) if exact else repr(float(bound))


def bounds(low: float | None, high: float | None) -> str:
    """Show a range, such as ``0 or more``; empty where there is none.

    Args:
        low: the least value; ``None`` for any.
        high: the greatest.
    """
    if low is None:
        return "" if high is None else f"{number(high)} or less"
    return f"{number(low)} or more" if high is None else f"{number(low)} to {number(high)}"
