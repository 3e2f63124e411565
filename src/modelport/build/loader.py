"""Loading builder files by path, with every mistake in them named by file and field."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from modelport import spec
from modelport.build import fingerprint, own, provenance, tuned_file
from modelport.errors import BuilderError, BuildError, ModelportError
from modelport.repository import digests
from modelport.spec.model import Ensemble, Model, PythonModel, SklearnModel, TorchModel
from modelport.spec.parts import LocalFile

_PACKAGE = Path(spec.__file__).parents[1]
# Modules that builders imported from beside them: each load reads them anew, because
# they may have changed, and two folders may have a module of one name.
_siblings: set[str] = set()


@dataclass(frozen=True)
class Builder:
    """A builder file and the models that it declares.

    Attributes:
        path: the file.
        models: what it declares; the parts of an ensemble come before it.
        imports: files of the user's own that it imports, with their digests.
    """

    path: Path
    models: tuple[Model, ...]
    imports: Mapping[str, str]

    def fingerprint(self, model: Model, *fields: str) -> str:
        """Digest the code that fields of a declaration depend on, or the whole file without any.

        Files that the builder imports from beside it always count.
        """
        own = fingerprint.of_fields(self.path, model.name, fields) if fields else self._whole
        return digests.of_value([own, sorted(self.imports.values())])

    @cached_property
    def library(self) -> str:
        """Digest the library's modules that the builder's own code runs on."""
        files = [self.path, *map(Path, self.imports)]
        return digests.of_value([provenance.used_by(file) for file in sorted(files)])

    @property
    def _whole(self) -> str:
        if self.path.suffix == ".py":
            return fingerprint.of_file(self.path)
        return digests.of_file(self.path)

    @contextmanager
    def blamed(
        self,
        model: Model,
        what: str,
        next_step: str,
        *,
        as_error: type[BuildError] = BuilderError,
    ) -> Iterator[None]:
        """Report what the builder's own code raises as its own, with file, model and place.

        Args:
            model: the declaration that the code belongs to.
            what: the field or the step, as it begins the sentence "… failed".
            next_step: what to mend.
            as_error: class of the report.
        """
        try:
            yield
        except ModelportError:
            raise
        except Exception as error:  # the user's code may raise anything
            raise as_error(
                f"{self.path}: model {model.name!r}: {what} failed:"
                f" {type(error).__name__}: {error}",
                next_step=next_step,
                model=model.name,
            ) from error

    def model(self, name: str) -> Model:
        """Find a model by its name."""
        return next(model for model in self.models if model.name == name)

    def closure(self, model: Model) -> set[str]:
        """Names of the model and of all that it runs, directly or not."""
        return {model.name}.union(*(self.closure(self.model(name)) for name in model.runs))

    def is_public(self, model: Model) -> bool:
        """Say whether clients should call it: what nothing in this file runs, unless told."""
        if model.public is not None:
            return model.public
        return not any(model.name in other.runs for other in self.models)


def load(path: Path, *, data: Path | None = None) -> Builder:
    """Run a builder file and collect what it declares as ``model`` or ``models``.

    Args:
        path: the builder file.
        data: takes the place of the file's first source, in every model that names it.

    Raises:
        BuilderError: it does not parse, cannot be imported, or a declaration is wrong; or the
            settings beside it that `modelport tune` wrote do not fit it.
    """
    with _beside(path.absolute().parent) as imported, own.given(data) as given:
        module = _execute(path)
        models = tuned_file.applied(path, _declared(path, module))
        imports = _own_imports(imported())
    if data and not given.asked:
        models = _on_data(path, models, data)
    return Builder(path, models, imports)


def _on_data(path: Path, models: tuple[Model, ...], data: Path) -> tuple[Model, ...]:
    first = next((source for model in models for source in model.sources), None)
    if first is None:
        raise BuilderError(
            f"{path}: no model of it reads data from outside, so it cannot use {data}",
            next_step="name the data in `sources` of a model, or build without --data",
            path=path,
        )
    users = LocalFile(str(data.absolute()))

    def replaced(model: Model) -> Model:
        fields: dict[str, Any] = {
            "sources": tuple(users if source == first else source for source in model.sources)
        }
        if isinstance(model, (SklearnModel, TorchModel)):
            fields["gates"] = tuple(gate for gate in model.gates if gate.on != first)
        return dataclasses.replace(model, **fields)

    return tuple(replaced(model) for model in models)


@contextmanager
def _beside(folder: Path) -> Iterator[Callable[[], set[str]]]:
    """Let a builder import files of its folder; yields what tells the new modules' names."""
    for name in _siblings:
        sys.modules.pop(name, None)
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    # Files written since the folder was last looked at are found too.
    importlib.invalidate_caches()
    try:
        yield lambda: set(sys.modules) - before
    finally:
        sys.path.remove(str(folder))
        new = set(sys.modules) - before
        _siblings.update(name for name in new if _lies_in(folder, sys.modules[name]))


def _lies_in(folder: Path, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and Path(str(file)).is_relative_to(folder)


def _execute(path: Path) -> ModuleType:
    name = f"modelport_builder_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise BuilderError(f"{path}: not a Python file", path=path)
    module = importlib.util.module_from_spec(specification)
    # Networks are pickled and compiled by module name, so the module must be findable.
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except FileNotFoundError as error:
        raise BuilderError(f"{error.filename}: there is no such file", path=path) from error
    except SyntaxError as error:
        raise BuilderError(
            f"{error.filename or path}:{error.lineno}: {error.msg}: {(error.text or '').strip()}",
            next_step="mend the syntax of the builder file",
            path=path,
        ) from error
    except ModelportError:
        raise
    except ValidationError as error:
        raise invalid_field(path, error) from error
    except Exception as error:  # the user's file may raise anything; it is reported as theirs
        raise _failed(path, error) from error
    return module


def _failed(path: Path, error: Exception) -> BuilderError:
    missing = isinstance(error, ModuleNotFoundError)
    return BuilderError(
        f"{path}{_line_in(path, error)}: {type(error).__name__}: {error}",
        cause="a package that the builder imports is not installed" if missing else None,
        next_step="install it in this environment" if missing else "mend the builder file",
        path=path,
    )


def _line_in(path: Path, error: BaseException) -> str:
    """Give the last line of ``path`` in the error's traceback, as ``:12``."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return f":{lines[-1]}" if lines else ""


def invalid_field(path: Path, error: ValidationError) -> BuilderError:
    """Turn pydantic's first complaint into file, line, class, field, expected and got."""
    first = error.errors()[0]
    field = _field_name(error.title, first["loc"]) or "(whole)"
    where = f"{path}{_line_in(path, error)}: {error.title}"
    cause = None
    if first["type"] == "unexpected_keyword_argument":
        what = f"{where}: unknown field {field!r}"
        near = difflib.get_close_matches(field, _fields_of(error.title), n=2)
        cause = f"a typo; did you mean {' or '.join(near)}?" if near else None
    elif first["type"].startswith("missing"):
        what = f"{where}: field {field!r} is missing"
    else:
        what = f"{where}: field {field!r}: {first['msg']}; got {first['input']!r}"[:600]
    return BuilderError(what, cause=cause, next_step="mend that field", path=path, field=field)


def _field_name(class_name: str, location: tuple[int | str, ...]) -> str:
    """Name a field as the builder's author knows it; pydantic counts positional arguments."""
    names = _fields_of(class_name)
    first, *rest = location or ("",)
    if isinstance(first, int) and first < len(names):
        first = names[first]
    return ".".join(str(part) for part in (first, *rest))


def _fields_of(class_name: str) -> list[str]:
    declared = getattr(spec, class_name, None)
    return [f.name for f in dataclasses.fields(declared)] if declared else []


def _declared(path: Path, module: ModuleType) -> tuple[Model, ...]:
    found = getattr(module, "models", None) or getattr(module, "model", None)
    models = (found,) if isinstance(found, Model) else found
    if not isinstance(models, (tuple, list)) or not all(_is_kind(m) for m in models):
        got = "nothing" if found is None else type(found).__name__
        raise BuilderError(
            f"{path}: field 'model' or 'models': expected a TorchModel, SklearnModel, OnnxModel,"
            f" PythonModel or Ensemble, or a tuple of them; got {got}",
            next_step="end the file with `model = TorchModel(...)`",
            path=path,
            field="model",
        )
    names = [model.name for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BuilderError(f"{path}: two models are named {twice[0]!r}", path=path, field="name")
    return _parts_first(path, tuple(models))


def _is_kind(declared: object) -> bool:
    """Tell a TorchModel and its like from the plain Model, which is none."""
    return isinstance(declared, Model) and type(declared) is not Model


def _parts_first(path: Path, models: tuple[Model, ...]) -> tuple[Model, ...]:
    """Order the models so that each comes after those that it runs or takes weights of."""
    ordered: dict[str, Model] = {}
    waiting = {model.name: model for model in models}
    while waiting:
        ready = [m for m in waiting.values() if needs(m).isdisjoint(waiting)]
        if not ready:
            raise BuilderError(f"{path}: models need each other in a circle: {', '.join(waiting)}")
        for model in ready:
            ordered[model.name] = waiting.pop(model.name)
    for model in models:
        if unknown := sorted(needs(model) - set(ordered)):
            raise _undeclared(path, model, unknown[0])
    return tuple(ordered.values())


def needs(model: Model) -> frozenset[str]:
    """Names of the models that must be built before this one."""
    weights = model.weights_of if isinstance(model, TorchModel) else None
    return model.runs | {weights} if weights else model.runs


def _undeclared(path: Path, model: Model, name: str) -> BuilderError:
    field = {Ensemble: "steps", PythonModel: "calls"}.get(type(model), "weights_of")
    kind = "ensemble" if isinstance(model, Ensemble) else "model"
    return BuilderError(
        f"{path}: {kind} {model.name!r}: field {field!r}: model {name!r} is not declared in"
        " this file",
        cause=f"{model.name!r} is proven against the references of the models that it needs",
        next_step=f"declare {name!r} in the same builder file, or mend the name",
        path=path,
        field=field,
    )


def _own_imports(names: set[str]) -> dict[str, str]:
    """Digest modules that lie in no installed package: the user's files beside the builder."""
    files = {}
    for name in sorted(names):
        file = getattr(sys.modules.get(name), "__file__", None)
        if not file or not file.endswith(".py") or name.startswith("modelport_builder_"):
            continue
        path = Path(file)
        # Modules made at run time name files that are not there.
        if not path.is_absolute() or not path.is_file():
            continue
        installed = "site-packages" in path.parts or path.is_relative_to(_PACKAGE)
        if not installed and not path.is_relative_to(Path(sys.base_prefix)):
            files[str(path)] = digests.of_file(path)
    return files
