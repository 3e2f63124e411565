"""``manifest.json``: what a published version is, where it came from, and its proof.

The manifest lies beside the weights. A version without one was never proven.
Unknown keys are refused on reading, so that a typo or a newer schema is never
taken for a proof.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
)

from modelport.errors import IntegrityError
from modelport.repository import digests
from modelport.spec.model import Kind, Model
from modelport.spec.parts import Content, Tensor
from modelport.spec.precision import Plan

FILE_NAME = "manifest.json"
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _inside(path: str) -> str:
    """Refuse a path that leaves the version folder: a manifest may come from anywhere."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} leads out of the version folder")
    return path


class _Part(BaseModel):
    # JSON has no NaN: an undefined figure is written as text, and read back as NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class FileEntry(_Part):
    """A file of the version, relative to its folder."""

    path: Annotated[str, AfterValidator(_inside)]
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256

    @classmethod
    def of(cls, path: Path, folder: Path) -> FileEntry:
        """Measure and digest ``path`` inside ``folder``."""
        return cls(
            path=path.relative_to(folder).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=digests.of_file(path),
        )


class BuilderEntry(_Part):
    """The file that declared the model: a builder, or the ONNX file that was imported."""

    path: str
    sha256: Sha256


class DataEntry(_Part):
    """A data source that training or evaluation read."""

    source: str
    sha256: Sha256
    licence: str


class Metrics(_Part):
    """Figures of the torch network on a split that training never saw."""

    split: str
    count: int
    values: dict[str, float]
    gates: dict[str, str] = Field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = Field(default_factory=dict)


class ToleranceEntry(_Part):
    """The bound ``|got - expected| <= absolute + relative * |expected|``."""

    absolute: float
    relative: float


class ParityEntry(_Part):
    """How far the answers lay from the reference, at worst over all cases."""

    reference: str
    requests: int
    batch_sizes: list[int]
    concurrencies: list[int] = Field(default_factory=list)
    transports: list[str] = Field(default_factory=list)
    worst_absolute: float
    worst_relative: float


class LatencyEntry(_Part):
    """How long single requests took on the machine that proved the version, one at a time."""

    requests: int
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    machine: str


class RatesEntry(_Part):
    """What the server made of a model at one concurrency, asked for single items."""

    p50_ms: float
    p99_ms: float
    replies_per_s: float
    # CPU time of the server and its stub.
    cpu_ms_per_reply: float


class IntervalEntry(_Part):
    """A ratio with its 95 % interval."""

    ratio: float
    low: float
    high: float


class VariantEntry(_Part):
    """What one variant of a network showed; ``fp32`` is the network as it was trained.

    Ratios are against fp32, asked in turn with it: ``cpu`` for each reply, ``latency`` the median
    of one caller, ``throughput`` replies a second of eight callers.
    """

    precision: str
    sha256: Sha256
    size_bytes: int
    figures: dict[str, float] = Field(default_factory=dict)
    least_cosine: float
    mean_cosine: float
    worst_absolute: float
    # By concurrency; empty for a variant that is not made for this machine.
    rates: dict[str, RatesEntry] = Field(default_factory=dict)
    ratios: dict[str, IntervalEntry] = Field(default_factory=dict)
    memory_bytes: int | None = None
    load_ms: float | None = None
    within_budget: bool
    verdict: str


class JudgementEntry(_Part):
    """The variants of a network side by side, and why one of them was chosen."""

    goal: str
    chosen: str
    split: str | None
    count: int
    budgets: list[str]
    machine: str
    server: str
    variants: list[VariantEntry]


class Proof(_Part):
    """Parity in this process and through a running server, against one tolerance."""

    tolerance: ToleranceEntry
    in_process: ParityEntry | None = None
    through_server: ParityEntry
    server: str


class EngineEntry(_Part):
    """How a TensorRT engine is compiled: what ``spec.Plan`` declares, for machines without it."""

    of: str = "fp16"
    batch: Annotated[int, Field(ge=1)] = 8
    lengths: dict[str, list[tuple[int, int, int]]] = Field(default_factory=dict)
    workspace_mib: Annotated[int, Field(ge=1)] = 1024
    version_compatible: bool = False
    hardware_compatible: bool = False

    @classmethod
    def declared(cls, plan: Plan) -> EngineEntry:
        """Write down what a builder declares."""
        lengths = {name: [*ranges] for name, ranges in plan.lengths.items()}
        return cls(**{**_fields(plan), "lengths": lengths})

    @property
    def plan(self) -> Plan:
        """The declaration that this was written down from."""
        return Plan(**{name: getattr(self, name) for name in _fields(Plan())})


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: value for name, value in vars(plan).items() if name in EngineEntry.model_fields}


class PlanEntry(_Part):
    """A TensorRT engine: what it needs to run, and what it was compiled from.

    ``onnx_sha256`` is that of the version that it stands in for, ``graph_sha256`` that of the
    graph that TensorRT saw: the same, but for the precision.
    """

    library: str
    tensorrt: str
    compute_capability: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$")]
    gpu: str
    image: str | None = None
    onnx_sha256: Sha256
    graph_sha256: Sha256
    options: EngineEntry
    # Smallest, commonest and largest shape of each input.
    profile: dict[str, tuple[list[int], list[int], list[int]]]


class MeaningEntry(_Part):
    """What a tensor means to those who call the model; see ``spec.Tensor``."""

    doc: str = ""
    unit: str = ""
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    content: Content = ""
    values: tuple[str, ...] = ()
    instead_of: str = ""

    @classmethod
    def of(cls, tensor: Tensor) -> MeaningEntry:
        """Write down what a builder declares."""
        return cls(**{name: getattr(tensor, name) for name in cls.model_fields})

    @model_serializer(mode="wrap")
    def _briefly(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not said: most tensors have one or two of the fields."""
        given: dict[str, Any] = whole(self)
        return {name: value for name, value in given.items() if value not in ("", None, [], ())}


class TensorsEntry(_Part):
    """What the tensors of a model mean, by their names."""

    inputs: dict[str, MeaningEntry]
    outputs: dict[str, MeaningEntry]

    @classmethod
    def of(cls, model: Model) -> TensorsEntry:
        """Write down what a builder declares."""
        return cls(
            inputs={tensor.name: MeaningEntry.of(tensor) for tensor in model.inputs},
            outputs={tensor.name: MeaningEntry.of(tensor) for tensor in model.outputs},
        )

    def told(self) -> dict[str, Any]:
        """Give what clients rely on, by tensor: all but the words; empty where nothing is said."""
        found: dict[str, Any] = {}
        for side, meanings in (("inputs", self.inputs), ("outputs", self.outputs)):
            told = {name: one.model_dump(mode="json") for name, one in meanings.items()}
            told = {n: {k: v for k, v in one.items() if k != "doc"} for n, one in told.items()}
            if said := {name: one for name, one in told.items() if one}:
                found[side] = said
        return found


class Manifest(_Part):
    """The whole of ``manifest.json``."""

    schema_version: Literal[1] = 1
    model: str
    version: Annotated[int, Field(ge=1)]
    kind: Kind
    public: bool
    doc: str = ""
    limits: list[str] = Field(default_factory=list)
    # Of before Modelport kept that, or published without a builder: none.
    tensors: TensorsEntry | None = None
    runs: list[str] = Field(default_factory=list)
    # Versions of the models that it ran when it was proven; older manifests lack it.
    parts: dict[str, int] = Field(default_factory=dict)
    created: datetime
    builder: BuilderEntry
    build_key: Sha256
    git_commit: str | None = None
    dependencies: dict[str, str]
    data: list[DataEntry] = Field(default_factory=list)
    seed: int | None = None
    metrics: Metrics | None = None
    proof: Proof
    latency: LatencyEntry | None = None
    precision: str = "fp32"
    derived_from: int | None = None
    judgement: JudgementEntry | None = None
    # What the builder wants a TensorRT engine of this version to be like.
    engine: EngineEntry | None = None
    plan: PlanEntry | None = None
    files: list[FileEntry]
    signature: str | None = None

    @classmethod
    def read(cls, version_dir: Path) -> Manifest:
        """Read the manifest of a version folder.

        Raises:
            IntegrityError: there is none, or it is not what the schema says.
        """
        path = version_dir / FILE_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise IntegrityError(
                f"{path}: there is no manifest",
                cause="this version was copied in by hand, or its build never finished",
                next_step="modelport build, or modelport publish where there is no builder, which"
                " proves it and writes the manifest",
                path=path,
            ) from error
        except OSError as error:
            raise IntegrityError(
                f"{path}: cannot be read: {error.strerror}",
                next_step="see what lies there, and build the model again",
                path=path,
            ) from error
        except ValidationError as error:
            field, problem = first_problem(error)
            raise IntegrityError(
                f"{path}: field {field}: {problem}",
                cause="the file was edited or cut short, or a newer Modelport wrote it",
                next_step="build the model again, or update Modelport",
                path=path,
                field=field,
            ) from error

    def write(self, version_dir: Path) -> None:
        """Write ``manifest.json`` into a version folder."""
        text = self.model_dump_json(indent=2) + "\n"
        (version_dir / FILE_NAME).write_text(text, encoding="utf-8")

    def changed_files(self, version_dir: Path, *, content: bool = True) -> dict[str, str]:
        """Compare the folder with the manifest; give path to what is wrong, empty when all is well.

        Args:
            version_dir: the version folder.
            content: read and digest every file; otherwise compare sizes only.
        """
        wrong = {}
        for entry in self.files:
            path = version_dir / entry.path
            if not path.is_file():
                wrong[entry.path] = "missing"
            elif path.stat().st_size != entry.size_bytes:
                wrong[entry.path] = f"{path.stat().st_size} bytes instead of {entry.size_bytes}"
            elif content and digests.of_file(path) != entry.sha256:
                wrong[entry.path] = f"sha256 differs from {entry.sha256[:12]}…"
        return wrong


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Name the first field of a file that is not what its schema says, and what is wrong."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]) or "(whole file)", first["msg"]
