"""The models of one builder file on their way to candidates: every step that needs no server."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.build import proof, provenance, sources, steps
from modelport.build.candidates import Candidate, config_of, labels_of, newest_graph
from modelport.build.loader import Builder
from modelport.build.model_files import CODE, onnx_files, source_file
from modelport.build.references import References, drawn_samples
from modelport.build.sources import Fetched
from modelport.build.steps import Done, Listener, Progress, Report
from modelport.errors import BuilderError
from modelport.repository import digests
from modelport.repository.layout import Repository
from modelport.repository.manifest import JudgementEntry
from modelport.repository.samples import Samples
from modelport.spec.model import Model, OnnxModel, PythonModel, SklearnModel, TorchModel
from modelport.spec.parts import LocalFile, Sample, Tolerance
from modelport.spec.precision import FULL, PLAN, Variant
from modelport.verify import closeness

if TYPE_CHECKING:
    from modelport.build.estimator import EstimatorBuild
    from modelport.build.network import NetworkBuild
    from modelport.build.variants import VariantBuild

# Enough single items for a proof; batches are made of them.
_SAMPLE_ITEMS = 16


@dataclass(frozen=True)
class Choice:
    """In which precision a network is to be published, and why if that was judged."""

    precision: str
    judgement: JudgementEntry | None = None


@dataclass(frozen=True)
class _Base:
    """What does not depend on precisions: a model as it was trained, its parts still unnamed."""

    fetched: list[Fetched]
    network: NetworkBuild | None
    trained: Candidate


class Work:
    """The steps of one builder file up to its candidates.

    A network is taken in the precision that it was published in last, as long as it is the same
    network; :meth:`decide` says otherwise.

    Args:
        builder: the loaded file.
        repository: where its models are published.
        listener: hears of every step.
        keep_edits: leave config.pbtxt files that were edited by hand as they are.

    Attributes:
        local_files: files of the user's own that were read, with their digests.
    """

    def __init__(
        self,
        builder: Builder,
        repository: Repository,
        listener: Listener,
        keep_edits: bool,
    ) -> None:
        self._builder = builder
        self._repository = repository
        self._listener = listener
        self._keep_edits = keep_edits
        self._choices: Mapping[str, Choice] = {}
        self._bases: dict[str, _Base] = {}
        self._networks: dict[str, NetworkBuild] = {}
        self._estimators: dict[str, EstimatorBuild] = {}
        self._builds: dict[str, list[VariantBuild]] = {}
        # Those that are to be published, of networks that are not published as they were trained.
        self._variants: dict[str, VariantBuild] = {}
        self._keys: dict[str, str] = {}
        self._files_made: dict[str, Done] = {}
        answering = partial(
            References,
            builder,
            network=lambda model: self._networks[model.name].network,
            files=lambda model: self._files_made[model.name].folder,
            estimator=lambda model: self._estimators[model.name].answer,
        )
        # Answers of the networks as they were trained, and of the variants in their place.
        self._trained = answering()
        self._served = answering(graphs=self._graph)
        self.local_files: dict[str, str] = {}

    def decide(self, choices: Mapping[str, Choice]) -> None:
        """Say in which precision networks are taken from now on, by the names of their models."""
        self._choices = choices
        self._variants.clear()

    def candidates(self) -> list[Candidate]:
        """Take every model through the steps that need no server; each step is taken once."""
        return [self._candidate(model) for model in self._builder.models]

    def _candidate(self, model: Model) -> Candidate:
        if model.name not in self._bases:
            self._bases[model.name] = self._base(model)
        base = self._bases[model.name]
        parts = [self._keys[name] for name in sorted(model.runs)]
        candidate = dataclasses.replace(base.trained, parts=parts)
        if base.network is not None and isinstance(model, TorchModel):
            candidate = self._in_precision(candidate, base.network)
        elif self._variants.keys() & self._builder.closure(model):
            candidate = self._answering(candidate, model, base.fetched)
        self._keys[model.name] = candidate.key
        return candidate

    def _base(self, model: Model) -> _Base:
        fetched = self._fetch(model)
        network = self._network(model, fetched)
        if isinstance(model, PythonModel):
            self._files_made[model.name] = self._made(model, fetched)
        cases = self._cases(model, fetched)
        if network is not None:
            network.run(cases)
        return _Base(fetched, network, self._as_trained(model, fetched, network, cases))

    def variants(self, model: TorchModel) -> list[VariantBuild]:
        """List the network of a candidate as it was trained, and the variants of it.

        TensorRT plans are not among them: they are built where they serve.
        """
        from modelport.build.variants import VariantBuild

        if model.name not in self._builds:
            network = self._networks[model.name]
            cases = self._cases(model, network.fetched)
            made: list[Variant | None] = [None, *(v for v in model.variants if v.name != PLAN)]
            self._builds[model.name] = [VariantBuild(network, one, cases) for one in made]
        return self._builds[model.name]

    def _in_precision(self, trained: Candidate, network: NetworkBuild) -> Candidate:
        """Make of a candidate the variant that is to be published."""
        model = network.model
        choice = self._choices.get(model.name) or Choice(self._standing(trained, model))
        trained = dataclasses.replace(trained, judgement=choice.judgement)
        if choice.precision == FULL:
            return trained
        (build,) = (one for one in self.variants(model) if one.precision == choice.precision)
        self._variants[model.name] = build
        base = trained.base(self._repository)
        return dataclasses.replace(
            self._answering(trained, model, network.fetched),
            files={"model.onnx": build.onnx_file},
            in_process=None,
            metrics=build.metrics,
            precision=build.precision,
            derived_from=base.version if base else None,
        )

    def _standing(self, trained: Candidate, model: TorchModel) -> str:
        """Give the precision that the same network was published in last."""
        folder = self._repository.folder(model.name)
        base = trained.base(self._repository)
        if base is None:
            return FULL
        newest = folder.manifest(newest_graph(folder) or base.version)
        known = any(variant.name == newest.precision for variant in model.variants)
        return newest.precision if known and newest.derived_from == base.version else FULL

    def _answering(self, trained: Candidate, model: Model, fetched: list[Fetched]) -> Candidate:
        """Give a candidate the answers, and where needed the tolerance, of the variants it runs."""
        done = self._cases(model, fetched, served=True)
        cases = Samples.read(done.folder / "samples.json")
        used = self._variants.keys() & self._builder.closure(model)
        builds = [self._variants[name] for name in sorted(used)]
        tolerance = model.tolerance
        if any(build.variant and build.variant.mixes_batch for build in builds):
            # Both answers lie so far from the network's, whatever else is in the batch.
            far = 2 * closeness.farthest(cases.cases, trained.cases.cases)
            tolerance = Tolerance(tolerance.absolute + far, tolerance.relative)
        return dataclasses.replace(
            trained,
            model=dataclasses.replace(model, tolerance=tolerance),
            cases=cases,
            cases_digest=_digest(model, done),
            reference=_reference(model, builds),
        )

    def _graph(self, model: TorchModel) -> Path | None:
        build = self._variants.get(model.name)
        return build.onnx_file if build else None

    def _as_trained(
        self, model: Model, fetched: list[Fetched], network: NetworkBuild | None, cases: Done
    ) -> Candidate:
        return Candidate(
            origin=self._builder.path,
            public=self._builder.is_public(model),
            model=model,
            config=config_of(model, self._repository, keep_edits=self._keep_edits),
            reference=proof.REFERENCES[type(model)],
            cases=Samples.read(cases.folder / "samples.json"),
            cases_digest=_digest(model, cases),
            files=self._files(model, network),
            beside=labels_of(model),
            data=[file.entry for file in fetched],
            metrics=network.metrics if network else None,
            in_process=network.parity_found if network else None,
            seed=model.training.seed if isinstance(model, TorchModel) and model.training else None,
            keep_edits=self._keep_edits,
        )

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

    def _cases(self, model: Model, fetched: list[Fetched], *, served: bool = False) -> Done:
        """Make the requests of the proof with their expected answers.

        Args:
            model: that is asked.
            fetched: its data files.
            served: the answers are those of the variants that are published, not of the networks
                as they were trained.
        """
        references = self._served if served else self._trained
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
        if served:
            used = self._variants.keys() & answering
            inputs["variants"] = {name: self._variants[name].sha256 for name in used}

        def work(folder: Path) -> dict[str, object]:
            cases = references.cases(model, self._samples(model, fetched))
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


def _digest(model: Model, cases: Done) -> str:
    """Digest the requests of a proof and their answers; an ONNX file says all by itself."""
    return "" if model.kind == "onnx" else digests.of_file(cases.folder / "samples.json")


def _reference(model: Model, builds: Sequence[VariantBuild]) -> str:
    """Name where the expected answers of a model come from that runs variants."""
    if isinstance(model, TorchModel):
        return proof.REFERENCES[OnnxModel]
    shown = ", ".join(f"{build.network.model.name} in {build.precision}" for build in builds)
    return f"{proof.REFERENCES[type(model)]}, {shown}"
