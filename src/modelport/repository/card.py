"""Model cards: what the manifests of a model and its parts say, in Markdown for people.

After Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv:1810.03993). A card is made
when it is asked for and kept nowhere: the manifest stays the one truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelport.errors import RepositoryError
from modelport.repository import judgements, markdown
from modelport.repository.layout import Repository
from modelport.repository.manifest import Manifest, Metrics, ParityEntry
from modelport.spec.config import ModelConfig

_DIGEST_CHARACTERS = 12


@dataclass(frozen=True)
class Card:
    """A model with the models that it runs, as their manifests have them.

    Attributes:
        manifest: of the model.
        config: what config.pbtxt says of it.
        parts: manifests of the models that it runs, and that those run.
    """

    manifest: Manifest
    config: ModelConfig
    parts: tuple[Manifest, ...]

    @classmethod
    def of(cls, repository: Repository, name: str, version: int | None = None) -> Card:
        """Read a card's facts.

        Args:
            repository: holds the model and its parts.
            name: of the model.
            version: the newest that serves by default; parts are those that serve.

        Raises:
            RepositoryError: there is no such model or version.
            IntegrityError: a manifest is missing or damaged.
        """
        folder = repository.model(name)
        known = folder.proven_versions()
        if version is not None and version not in known:
            raise RepositoryError(
                f"{folder.path}: there is no proven version {version}",
                cause=f"it has {', '.join(map(str, known)) or 'none'}",
                next_step=f"modelport card {name}, or modelport build {name}",
                model=name,
                version=version,
            )
        manifest = folder.manifest(version or _served(repository, name))
        parts = {part: repository.model(part) for part in _all_parts(repository, manifest)}
        found = (folder.manifest(_served(repository, part)) for part, folder in parts.items())
        return cls(manifest, folder.config(), tuple(found))

    @property
    def models(self) -> tuple[Manifest, ...]:
        """The model and its parts."""
        return self.manifest, *self.parts

    @property
    def size_bytes(self) -> int:
        """Of all files, its parts' included."""
        return sum(file.size_bytes for model in self.models for file in model.files)

    @property
    def licences(self) -> list[str]:
        """Licences of all data, each once."""
        return list(dict.fromkeys(entry.licence for model in self.models for entry in model.data))

    def as_dict(self) -> dict[str, Any]:
        """Give all facts for a program."""
        return {
            "manifest": self.manifest.model_dump(mode="json"),
            "parts": [part.model_dump(mode="json") for part in self.parts],
            "size_bytes": self.size_bytes,
        }

    def markdown(self) -> str:
        """Write the card."""
        sections = (
            self._head(),
            self._tensors(),
            self._figures(),
            self._variants(),
            self._limits(),
            self._data(),
            self._latency(),
            self._parity(),
            self._files(),
            self._origin(),
        )
        return "\n\n".join(section for section in sections if section) + "\n"

    def _head(self) -> str:
        model = self.manifest
        facts = {
            "version": model.version,
            "built": f"{model.created:%Y-%m-%d %H:%M} UTC",
            "kind": f"{model.kind} of {', '.join(model.runs)}" if model.runs else model.kind,
            "precision": ", ".join(sorted({m.precision for m in self.models})),
            "comes from": _ancestry(model),
            "size": megabytes(self.size_bytes),
        }
        listed = "\n".join(
            f"- {name}: {value}" for name, value in facts.items() if value is not None
        )
        return "\n\n".join(filter(None, (f"# {model.model}", model.doc, listed)))

    def _tensors(self) -> str:
        batch = ["batch"] if self.config.max_batch_size else []
        rows = [
            (side, f"`{t.name}`", t.data_type.removeprefix("TYPE_"), _shape([*batch, *t.dims]))
            for side, tensors in (("input", self.config.input), ("output", self.config.output))
            for t in tensors
        ]
        return _section("Takes and gives", markdown.table(("", "tensor", "type", "shape"), rows))

    def _figures(self) -> str:
        texts = [
            _figures(model.model, model.metrics)
            for model in self.models
            if model.metrics is not None
        ]
        if not texts:
            return ""
        note = (
            "In parentheses the 95 % interval: how far the figure would move with another test"
            " split of that size. Outside its gate nothing would have been published."
        )
        return _section("Figures", *texts, note)

    def _variants(self) -> str:
        texts = [
            "\n\n".join(
                (
                    f"`{model.model}`: {judgements.title(model.judgement)}.",
                    markdown.table(*judgements.losses(model.judgement)),
                    markdown.table(*judgements.gains(model.judgement)),
                    f"Budgets: {'; '.join(model.judgement.budgets)}."
                    f" {judgements.about(model.judgement)}.",
                )
            )
            for model in self.models
            if model.judgement is not None
        ]
        return _section("Variants", *texts) if texts else ""

    def _limits(self) -> str:
        limits = list(dict.fromkeys(limit for model in self.models for limit in model.limits))
        return _section("Limits", "\n".join(f"- {limit}" for limit in limits)) if limits else ""

    def _data(self) -> str:
        entries = {entry.source: entry for model in self.models for entry in model.data}
        rows = [(e.source, e.licence, _short(e.sha256)) for e in entries.values()]
        return (
            _section("Data", markdown.table(("source", "licence", "sha256"), rows)) if rows else ""
        )

    def _latency(self) -> str:
        found = self.manifest.latency
        if found is None:
            return ""
        rows = [
            (name, f"{p50:.2f} ms", f"{found.p99_ms[name]:.2f} ms")
            for name, p50 in found.p50_ms.items()
        ]
        note = (
            f"One request after the other, {found.requests} in all, on the machine that built it"
            f" ({found.machine}), where other work may have run beside."
        )
        return _section("Latency", markdown.table(("transport", "p50", "p99"), rows), note)

    def _parity(self) -> str:
        rows = [row for model in self.models for row in _parity_rows(model)]
        columns = ("model", "where", "reference", "requests", "worst Δ", "tolerance")
        note = (
            "How far answers lay from the reference, at worst. Through the server they were"
            " asked side by side, in batches that the server mixed."
        )
        return _section("Parity", markdown.table(columns, rows), note)

    def _files(self) -> str:
        rows = [
            (model.model, model.version, f"`{file.path}`", megabytes(file.size_bytes),
             _short(file.sha256))
            for model in self.models
            for file in model.files
        ]  # fmt: skip
        return _section(
            "Files", markdown.table(("model", "version", "file", "size", "sha256"), rows)
        )

    def _origin(self) -> str:
        model = self.manifest
        seeds = {f"{m.model} {m.seed}" for m in self.models if m.seed is not None}
        facts = {
            "builder": f"`{model.builder.path}` ({_short(model.builder.sha256)})",
            "commit": model.git_commit,
            "build key": _short(model.build_key),
            "seed": ", ".join(sorted(seeds)),
            "made with": ", ".join(f"{k} {v}" for k, v in model.dependencies.items()),
            "proven on": model.proof.server,
        }
        listed = "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)
        return _section("Where it comes from", listed)


def figures(values: Mapping[str, float]) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Give each figure with its 95 % interval, where the evaluation measured one.

    It measures one by giving ``accuracy_low`` and ``accuracy_high`` beside ``accuracy``, as
    :func:`modelport.build.evaluation.classification` does.
    """
    bounds = {
        name: (values[f"{name}_low"], values[f"{name}_high"])
        for name in values
        if f"{name}_low" in values and f"{name}_high" in values
    }
    ends = {f"{name}_{end}" for name in bounds for end in ("low", "high")}
    return {n: (value, bounds.get(n)) for n, value in values.items() if n not in ends}


def figure_text(value: float, bounds: tuple[float, float] | None) -> str:
    """Show a figure, its interval behind it."""
    within = f" ({bounds[0]:.3g} to {bounds[1]:.3g})" if bounds else ""
    return f"{value:.4g}{within}"


def megabytes(size_bytes: int) -> str:
    """Show a size."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"


def _served(repository: Repository, name: str) -> int:
    folder = repository.model(name)
    served = [v for v in folder.served_versions() if v in folder.proven_versions()]
    if served:
        return served[-1]
    raise RepositoryError(
        f"{folder.path}: no proven version of it serves",
        cause="it was not built yet",
        next_step=f"modelport build {name}",
        model=name,
    )


def _all_parts(repository: Repository, manifest: Manifest) -> list[str]:
    """Name what a model runs, and what that runs, each once."""
    found: dict[str, None] = {}
    waiting = list(manifest.runs)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += repository.model(name).manifest(_served(repository, name)).runs
    return list(found)


def _figures(model: str, metrics: Metrics) -> str:
    baselines = {title: figures(values) for title, values in metrics.baselines.items()}
    rows = [
        (
            name,
            figure_text(*found),
            metrics.gates.get(name, ""),
            *(figure_text(*of[name]) if name in of else "" for of in baselines.values()),
        )
        for name, found in figures(metrics.values).items()
    ]
    columns = ("figure", model, "gate", *baselines)
    on = f"On {metrics.count} items of the {metrics.split} split, which training never saw:"
    return f"{on}\n\n{markdown.table(columns, rows)}"


def _parity_rows(model: Manifest) -> Iterator[tuple[object, ...]]:
    bound = model.proof.tolerance
    tolerance = f"{bound.absolute:g} + {bound.relative:g} · expected"
    entries: tuple[tuple[str, ParityEntry | None], ...] = (
        ("in process", model.proof.in_process),
        ("through the server", model.proof.through_server),
    )
    for where, entry in entries:
        if entry is not None:
            worst = f"{entry.worst_absolute:.2g}"
            yield model.model, where, entry.reference, entry.requests, worst, tolerance


def _ancestry(model: Manifest) -> str | None:
    """Say which version a variant comes from, and what a plan runs on."""
    if model.derived_from is None:
        return None
    plan = model.plan
    gpu = f", for TensorRT {plan.tensorrt} on {plan.gpu}" if plan else ""
    return f"version {model.derived_from}{gpu}"


def _shape(dims: Sequence[object]) -> str:
    return "[" + ", ".join("any" if dim == -1 else str(dim) for dim in dims) + "]"


def _short(digest: str) -> str:
    return f"`{digest[:_DIGEST_CHARACTERS]}`"


def _section(title: str, *texts: str) -> str:
    return "\n\n".join((f"## {title}", *texts))
