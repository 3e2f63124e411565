"""What tuning found, kept beside the builder file, if a build would make just that of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from modelport.build import loader, tuned_file
from modelport.errors import BuilderError
from modelport.repository import edits, pbtxt
from modelport.repository.layout import Repository
from modelport.spec.config import ModelConfig
from modelport.spec.model import Model
from modelport.spec.tuned import Evidence, Tuned, TunedServing

Read = Callable[[ModelConfig], TunedServing]


def builder_of(repository: Repository, name: str, builders: Path) -> Path | None:
    """Find the builder file of a model; None where there is none.

    Args:
        repository: where the model lies.
        name: of the model.
        builders: a folder of builder files, or one of them.
    """
    written = edits.builder_of(repository.folder(name).config_path)
    folder = builders if builders.is_dir() else builders.parent
    path = folder / Path(written).name if written else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def refuse_unreadable(repository: Repository, names: Sequence[str], builders: Path) -> None:
    """Read what lies beside the builder files of models, before their tuning takes minutes.

    Raises:
        BuilderError: a file there cannot be read.
    """
    for name in names:
        if (path := builder_of(repository, name, builders)) is not None:
            tuned_file.read(path)


def keep(path: Path, name: str, wanted: TunedServing, evidence: Evidence, read: Read) -> Path:
    """Write settings beside a builder file, over what it declares now.

    Args:
        path: the builder file.
        name: of the model.
        wanted: its settings.
        evidence: how they were found.
        read: reads the settings of a config.pbtxt.

    Raises:
        BuildError: a build would make something else of them, or the file cannot be read or
            written.
    """
    declared = _declared(path, name)
    built = pbtxt.parse(pbtxt.render(wanted.applied(declared).config()))
    if (got := read(built)) != wanted:
        raise BuilderError(
            f"{path}: a build would serve {name} with {got.differing(wanted)}",
            cause="the builder sets that by a way of its own",
            next_step="write the settings shown above into the builder",
            model=name,
        )
    over = TunedServing.of(declared)
    return tuned_file.write(path, name, Tuned(serving=wanted, over=over, evidence=evidence))


def _declared(path: Path, name: str) -> Model:
    with tuned_file.aside():
        models = loader.load(path).models
    found = next((one for one in models if one.name == name), None)
    if found is None:
        raise BuilderError(
            f"{path} declares no model {name!r}",
            cause="it was renamed or removed since it was built",
            next_step=f"modelport build {name}, and tune again",
            model=name,
        )
    return found
