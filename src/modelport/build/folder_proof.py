"""What a folder's model must answer: as ONNX Runtime does, or as its user expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modelport.build import proof, samples_file
from modelport.build.loader import Builder
from modelport.build.model_source import ModelSource
from modelport.build.references import References, drawn_samples
from modelport.build.selected_folders import Selected
from modelport.errors import DataError
from modelport.repository import digests
from modelport.repository.manifest import DataEntry
from modelport.repository.samples import Samples
from modelport.spec.model import Model
from modelport.spec.parts import Sample, Tolerance


@dataclass(frozen=True)
class Expected:
    """Requests of one model's proof.

    Attributes:
        reference: where the answers come from, in words.
        digest: of the requests and answers; empty where these follow from the files.
        data: the file that holds the answers, if people gave them.
    """

    samples: Samples
    reference: str
    digest: str
    data: Sequence[DataEntry] = ()


class Expectations:
    """Makes the requests of all models that are published together.

    Args:
        selected: the models.
        files: model to file of samples; under an empty name, of the one that people call.
        tolerance: of all of them.

    Raises:
        DataError: a file is given for a model that is not there, or for several.
    """

    def __init__(self, selected: Selected, files: Mapping[str, Path], tolerance: Tolerance) -> None:
        self._sources = {s.name: s for s in (*selected.new, *selected.parts)}
        self._tolerance = tolerance
        self._files = _by_name(selected, files)
        self._models: dict[str, Model] = {}

    def model(self, name: str) -> Model:
        """Declare a model, of the repository or new."""
        if name not in self._models:
            self._models[name] = self._sources[name].model(self._tolerance)
        return self._models[name]

    def of(self, source: ModelSource) -> Expected:
        """Make the requests of one model with the right answers.

        Raises:
            DataError: the samples do not fit, or nothing says what is right.
        """
        model = self.model(source.name)
        if source.kind == "ensemble" and any(
            self.model(name).delivery != "single" for name in source.runs
        ):
            raise source.unprovable("steps that stream or remember sequences")
        file = self._files.get(source.name)
        given = samples_file.read(file, model) if file else []
        if file and given[0].outputs:
            samples = Samples(tuple(samples_file.cases(model, given)), model.delivery)
            entry = DataEntry(source=file.name, sha256=digests.of_file(file), licence="not stated")
            digest = digests.of_value(samples.text())
            return Expected(samples, f"{proof.RECORDED}{file.name}", digest, [entry])
        if (unknown := self._unknown(source.name)) is not None:
            raise _nothing_to_compare(model, self._sources[unknown], file)
        items = [Sample(item.inputs) for item in given] or drawn_samples(model)
        samples = Samples(tuple(self._references.cases(model, items)), model.delivery)
        digest = "" if model.kind == "onnx" else digests.of_value(samples.text())
        return Expected(samples, proof.REFERENCES[type(model)], digest)

    @cached_property
    def _references(self) -> References:
        path = next(iter(self._sources.values())).folder.config_path
        models = tuple(map(self.model, self._sources))
        return References(Builder(path, models, {}), network=lambda model: model)

    def _unknown(self, name: str) -> str | None:
        """Name a model whose answers cannot be computed here: itself, or one that it runs."""
        source = self._sources[name]
        if source.kind == "ensemble":
            return next((n for part in sorted(source.runs) if (n := self._unknown(part))), None)
        return name if source.kind != "onnx" or source.reshapes else None


def _by_name(selected: Selected, files: Mapping[str, Path]) -> dict[str, Path]:
    named = {name: path for name, path in files.items() if name}
    if unknown := sorted(named.keys() - set(selected.names)):
        raise DataError(
            f"samples are given for {unknown[0]!r}, which is not among {', '.join(selected.names)}",
            next_step=f"--samples {selected.names[0]}={named[unknown[0]]}",
            model=unknown[0],
        )
    if "" in files and selected.new:
        public = selected.public
        if len(public) > 1:
            raise DataError(
                f"{files['']}: whose samples are these? {' and '.join(public)} are both called"
                " by people",
                next_step=f"--samples {public[0]}={files['']}",
                path=files[""],
            )
        named.setdefault(public[0], files[""])
    return named


def _nothing_to_compare(model: Model, unknown: ModelSource, file: Path | None) -> DataError:
    why = f"{unknown.name!r} is a {unknown.kind} model"
    if unknown.kind == "onnx":
        why = f"{unknown.folder.config_path} reshapes tensors"
    lacks = f"{file} holds inputs alone" if file else "there are no samples"
    names = ", ".join(f"{t.name}=…" for t in (*model.inputs, *model.outputs))
    return DataError(
        f"model {model.name!r}: nothing says what it must answer: {lacks}",
        cause=f"{why}, and only what ONNX Runtime answers can be computed here",
        next_step="give inputs with expected answers:"
        f" --samples {model.name}=answers.npz, written with numpy.savez('answers.npz', {names});"
        "\n  a server that is known to be right gives them:"
        f" modelport.client.Client(URL).infer({model.name!r}, inputs)",
        model=model.name,
    )
