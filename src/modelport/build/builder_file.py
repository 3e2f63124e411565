"""One builder file from its data to its published versions.

The models of one file are staged, proven and published together, because an
ensemble is right only with the parts that it was proven with.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.build import index, loader, proof, provenance, publication, sources, steps
from modelport.build.candidates import Candidate, config_of, labels_of
from modelport.build.loader import Builder
from modelport.build.model_files import CODE, onnx_files, source_file
from modelport.build.references import References, drawn_samples
from modelport.build.sources import Fetched
from modelport.build.steps import Built, Done, Listener, Progress, Report
from modelport.errors import BuilderError
from modelport.repository import digests, publish
from modelport.repository.layout import Repository
from modelport.repository.samples import Samples
from modelport.spec.model import Model, OnnxModel, PythonModel, SklearnModel, TorchModel
from modelport.spec.parts import LocalFile, Sample

if TYPE_CHECKING:
    from modelport.build.estimator import EstimatorBuild
    from modelport.build.network import NetworkBuild

# Enough single items for a proof; batches are made of them.
_SAMPLE_ITEMS = 16


def build_file(
    path: Path,
    repository: Repository,
    listener: Listener,
    keep_edits: bool,
    *,
    data: Path | None = None,
) -> list[Built]:
    """Take every model of a builder file the whole way; see ``pipeline.build``."""
    return build_models(loader.load(path, data=data), repository, listener, keep_edits, data=data)


def build_models(
    builder: Builder,
    repository: Repository,
    listener: Listener,
    keep_edits: bool,
    *,
    data: Path | None = None,
) -> list[Built]:
    """Take what a builder declares, from wherever it was loaded, the whole way."""
    publish.finish(repository.path)
    work = _Work(builder, repository, listener, keep_edits)
    candidates = [work.candidate(model) for model in builder.models]
    published = {c.model.name: c.published(repository) for c in candidates}
    new = [c for c in candidates if published[c.model.name] is None]
    versions = publication.publish(
        candidates, published, repository, listener, label=builder.path.stem
    )
    # What was built on other data is not what the builder file says: the next build looks again.
    if not data and not any(_weights_unseen(model) for model in builder.models):
        index.store(builder.path, repository, {**builder.imports, **work.local_files}, versions)
    fresh = {candidate.model.name for candidate in new}
    return [Built(name, version, name in fresh) for name, version in versions.items()]


def _weights_unseen(model: Model) -> bool:
    """Say whether a network's weights may come from a file that nobody here knows of."""
    if not isinstance(model, TorchModel) or model.weights_of:
        return False
    return model.training is None and not model.sources


class _Work:
    """The steps of one builder file up to its candidates."""

    def __init__(
        self, builder: Builder, repository: Repository, listener: Listener, keep_edits: bool
    ) -> None:
        self._builder = builder
        self._repository = repository
        self._listener = listener
        self._keep_edits = keep_edits
        self._networks: dict[str, NetworkBuild] = {}
        self._estimators: dict[str, EstimatorBuild] = {}
        self._keys: dict[str, str] = {}
        self._files_made: dict[str, Done] = {}
        self._references = References(
            builder,
            network=lambda model: self._networks[model.name].network,
            files=lambda model: self._files_made[model.name].folder,
            estimator=lambda model: self._estimators[model.name].answer,
        )
        self.local_files: dict[str, str] = {}

    def candidate(self, model: Model) -> Candidate:
        """Take a model through every step that needs no server."""
        fetched = self._fetch(model)
        network = self._network(model, fetched)
        if isinstance(model, PythonModel):
            self._files_made[model.name] = self._made(model, fetched)
        cases = self._cases(model, fetched)
        if network is not None:
            network.run(cases)
        candidate = Candidate(
            origin=self._builder.path,
            public=self._builder.is_public(model),
            model=model,
            config=config_of(model, self._repository, keep_edits=self._keep_edits),
            reference=proof.REFERENCES[type(model)],
            cases=Samples.read(cases.folder / "samples.json"),
            # An ONNX file says all by itself.
            cases_digest=""
            if model.kind == "onnx"
            else digests.of_file(cases.folder / "samples.json"),
            files=self._files(model, network),
            beside=labels_of(model),
            data=[file.entry for file in fetched],
            parts=[self._keys[name] for name in sorted(model.runs)],
            metrics=network.metrics if network else None,
            in_process=network.parity_found if network else None,
            seed=model.training.seed if isinstance(model, TorchModel) and model.training else None,
            keep_edits=self._keep_edits,
        )
        self._keys[model.name] = candidate.key
        return candidate

    def _fetch(self, model: Model) -> list[Fetched]:
        def on_fetch(words: str) -> None:
            self._listener(Progress(model.name, "data", words, 0, len(model.sources)))

        start = time.monotonic()
        fetched = []
        for source in model.sources:
            file = sources.fetch(source, self._builder.path, on_fetch=on_fetch)
            fetched.append(file)
            if isinstance(source, LocalFile):
                self.local_files[str(file.path)] = file.entry.sha256
        if fetched:
            words = ", ".join(file.path.name for file in fetched)
            self._listener(Report(model.name, "data", words, time.monotonic() - start))
        return fetched

    def _network(self, model: Model, fetched: list[Fetched]) -> NetworkBuild | None:
        if isinstance(model, SklearnModel):
            return self._estimator(model, fetched)
        if not isinstance(model, TorchModel):
            return None
        from modelport.build.network import NetworkBuild

        whole = self._networks[model.weights_of] if model.weights_of else None
        network = NetworkBuild(self._builder, model, fetched, self._listener, whole)
        self._networks[model.name] = network
        network.check_gates()
        return network

    def _estimator(self, model: SklearnModel, fetched: list[Fetched]) -> EstimatorBuild:
        from modelport.build.estimator import EstimatorBuild

        made = EstimatorBuild(self._builder, model, fetched, self._listener)  # type: ignore[arg-type]
        self._networks[model.name] = self._estimators[model.name] = made
        made.check_gates()
        return made

    def _made(self, model: PythonModel, fetched: list[Fetched]) -> Done:
        """Make the files that lie beside a Python model's code."""
        inputs = {
            "model": model.name,
            "builder": self._builder.fingerprint(model, "files") if model.files else "",
            "data": [file.entry.sha256 for file in fetched] if model.files else [],
            "library": self._builder.library if model.files else "",
            "versions": provenance.dependencies() if model.files else {},
        }

        def work(folder: Path) -> dict[str, object]:
            if model.files is None:
                return {"files": []}
            mend = "mend the function that makes the files, or the data that it reads"
            with self._builder.blamed(model, "`files`", mend):
                files = model.files(*(file.path for file in fetched))
                for name, content in files.items():
                    if isinstance(content, Path):
                        shutil.copyfile(content, folder / name)
                    else:
                        (folder / name).write_bytes(content)
            return {"files": sorted(files)}

        done = steps.run("files", inputs, work)
        if names := done.facts()["files"]:
            took = None if done.cached else done.duration_s
            self._listener(Report(model.name, "files", ", ".join(names), took))
        return done

    def _cases(self, model: Model, fetched: list[Fetched]) -> Done:
        """Make the requests of the proof with their expected answers."""
        answering = self._builder.closure(model)
        inputs = {
            "builder": self._builder.fingerprint(model),
            "model": model.name,
            "max_batch_size": model.max_batch_size,
            "data": [file.entry.sha256 for file in fetched],
            "trained": {n: w.trained.key for n, w in self._networks.items() if n in answering},
            "files": {n: done.key for n, done in self._files_made.items() if n in answering},
            "onnx": self._onnx_digests(),
            "library": [
                self._builder.library,
                provenance.library("build/references.py", "verify/cases.py", "verify/asking.py"),
            ],
        }

        def work(folder: Path) -> dict[str, object]:
            cases = self._references.cases(model, self._samples(model, fetched))
            Samples(tuple(cases), model.delivery).write(folder / "samples.json")
            return {"cases": len(cases)}

        return steps.run("reference", inputs, work)

    def _onnx_digests(self) -> dict[str, str]:
        models = (model for model in self._builder.models if isinstance(model, OnnxModel))
        files = [file for m in models for file in onnx_files(self._builder, m).values()]
        found = {str(file): digests.of_file(file) for file in files}
        self.local_files |= found
        return found

    def _samples(self, model: Model, fetched: list[Fetched]) -> Sequence[Sample]:
        if model.samples is not None:
            return self._called(model, fetched)
        if isinstance(model, TorchModel) and model.data is not None:
            names = {tensor.name for tensor in model.inputs}
            dataset = self._networks[model.name].dataset
            if names <= set(dataset.test.inputs):
                items = dataset.test.samples(_SAMPLE_ITEMS)
                return [Sample({n: a for n, a in i.inputs.items() if n in names}) for i in items]
        if isinstance(model, SklearnModel):
            return self._estimators[model.name].rows.samples(_SAMPLE_ITEMS)
        return drawn_samples(model)

    def _called(self, model: Model, fetched: list[Fetched]) -> Sequence[Sample]:
        assert model.samples is not None
        mend = "mend the function that makes the samples"
        with self._builder.blamed(model, "`samples`", mend):
            samples = model.samples(*(file.path for file in fetched))
        if not samples or not all(isinstance(sample, Sample) for sample in samples):
            raise BuilderError(
                f"{self._builder.path}: model {model.name!r}: field 'samples': expected a function"
                " that gives a list of modelport.spec.Sample, one or more",
                model=model.name,
                field="samples",
            )
        return samples

    def _files(self, model: Model, network: NetworkBuild | None) -> dict[str, Path]:
        if network is not None:
            return {"model.onnx": network.onnx_file}
        if isinstance(model, OnnxModel):
            return onnx_files(self._builder, model)
        if isinstance(model, PythonModel):
            made = self._files_made[model.name]
            code = source_file(self._builder, model, self._repository)
            return {CODE: code, **{n: made.folder / n for n in made.facts()["files"]}}
        return {}
