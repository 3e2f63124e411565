"""``modelport schema``: what callers rely on, and whether a change breaks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import BreakingChangeError, RepositoryError
from modelport.repository import compatibility, interface
from modelport.repository.interface import Interface, TensorInterface
from modelport.repository.layout import Repository

_MOST_SHOWN = 4


@click.group(name="schema")
def command() -> None:
    """Show the interfaces of models, and whether a change breaks those who call them."""


@command.command(name="show")
@click.argument("model", required=False, metavar="[NAME[@VERSION]]")
@options.REPOSITORY
@options.AS_JSON
@pass_output
def show(out: Output, model: str | None, repository: Path, as_json: bool) -> None:
    """Show what callers of a model rely on, by default of the version that serves.

    Without NAME all public models are shown. `schema check` reads the JSON.
    """
    if model is None:
        found = interface.public(Repository(repository))
        if as_json:
            out.json([one.as_json() for one in found])
            return
    else:
        found = [_of_model(model, repository)]
        if as_json:
            out.json(found[0].as_json())
            return
    for one in found:
        _show(out, one)


@command.command(name="check")
@click.argument("old")
@click.argument("new")
@options.REPOSITORY
@options.AS_JSON
@pass_output
def check(out: Output, old: str, new: str, repository: Path, as_json: bool) -> None:
    """Say what changed from OLD to NEW, and fail if it breaks those who call the model.

    \b
    OLD and NEW are each one of
      NAME@VERSION     a version of a model of the repository
      NAME             the version of it that serves
      ./repository     a path, with a slash: the public models of a repository
      interface.json   a file: what `modelport schema show --json` printed
    """  # noqa: D301 - \b is click's mark for a block that is not to be wrapped
    before, after = _operand(old, repository), _operand(new, repository)
    changes = _changes(before, after)
    if as_json:
        out.json([asdict(change) for change in changes])
    else:
        for change in changes:
            out.text(f"{'breaks' if change.breaking else 'fits  '}  {change}")
    breaking = [str(change) for change in changes if change.breaking]
    if breaking:
        raise BreakingChangeError(
            f"{len(breaking)} of {len(changes)} changes from {old} to {new}"
            f" break{'s' if len(breaking) == 1 else ''} those who call it as it was",
            next_step="publish it as a model of another name, or tell callers and promote it with"
            " --allow-breaking",
            changes=breaking,
        )
    if not as_json:
        out.note(f"nothing from {old} to {new} breaks callers")


def _changes(
    before: Interface | list[Interface], after: Interface | list[Interface]
) -> list[compatibility.Change]:
    """Compare one with one, a repository with another, or one model with that of a repository."""
    if isinstance(before, Interface) and isinstance(after, Interface):
        return compatibility.between(before, after)
    if isinstance(before, Interface):
        assert isinstance(after, list)
        return compatibility.between_all([before], [o for o in after if o.model == before.model])
    if isinstance(after, Interface):
        return compatibility.between_all([o for o in before if o.model == after.model], [after])
    return compatibility.between_all(before, after)


def _operand(text: str, repository: Path) -> Interface | list[Interface]:
    if text.endswith(".json"):
        return _of_file(Path(text))
    if "/" in text or text in (".", ".."):
        return interface.public(Repository(Path(text)))
    return _of_model(text, repository)


def _of_file(path: Path) -> Interface | list[Interface]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RepositoryError(
            f"{path}: cannot be read: {error.strerror}",
            next_step="modelport schema show NAME --json writes one",
            path=path,
        ) from error
    found = interface.parse(content, str(path))
    return found if content.lstrip().startswith(b"[") else found[0]


def _of_model(text: str, repository: Path) -> Interface:
    name, at, version = text.partition("@")
    if at and not (version.isdecimal() and int(version)):
        raise click.UsageError(f"{text!r} is not NAME@VERSION, such as digits@3")
    return interface.read(Repository(repository), name, int(version) if at else None)


def _show(out: Output, one: Interface) -> None:
    version = f" {one.version}" if one.version else ""
    batch = f"batches up to {one.max_batch_size}" if one.batching else "no batches"
    ways = ["a stream"] * one.decoupled + ["sequences"] * one.stateful
    out.text(f"{one.model}{version}: {', '.join([batch, *ways])}")
    if one.doc:
        out.text(one.doc)
    rows = [("input", *_row(tensor)) for tensor in one.inputs]
    rows += [("output", *_row(tensor)) for tensor in one.outputs]
    out.table("", ("", "tensor", "datatype", "shape", "meaning"), rows)
    if not one.described:
        out.note(f"{one.model}: what its tensors mean is not known here; build it, or anew")


def _row(tensor: TensorInterface) -> tuple[str, str, str, str]:
    sizes = " × ".join("any" if size < 0 else str(size) for size in tensor.dims) or "scalar"
    facts = [
        "optional" if tensor.optional else "",
        f"instead of {tensor.instead_of}" if tensor.instead_of else "",
        tensor.content,
        interface.bounds(tensor.minimum, tensor.maximum),
        f"in {tensor.unit}" if tensor.unit else "",
        _some("one of", tensor.values),
        _some("labels", tensor.labels),
        tensor.doc,
    ]
    return tensor.name, tensor.datatype, sizes, "; ".join(fact for fact in facts if fact)


def _some(title: str, texts: Sequence[str]) -> str:
    if not texts:
        return ""
    more = f", … ({len(texts)})" if len(texts) > _MOST_SHOWN else ""
    return f"{title} {', '.join(texts[:_MOST_SHOWN])}{more}"
