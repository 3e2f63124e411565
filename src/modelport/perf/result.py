"""``result.json``: what a load test found, and all that is needed to read it rightly.

Times are milliseconds, sizes bytes, rates per second, shares between 0 and 1, unless a name
says otherwise. A figure that was not taken is ``null``, never 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
)
from pydantic.json_schema import GenerateJsonSchema

from modelport.errors import ResultError

FILE_NAME = "result.json"
_MOST_PROBLEMS = 3

Share = Annotated[float, Field(ge=0, le=1)]
Kind = Literal["closed", "open", "burst", "ramp", "sequences", "streams"]
Verdict = Literal["pass", "fail"]


class _Part(BaseModel):
    # NaN is no figure: what could not be taken is None.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Machine(_Part):
    """Where it was measured; server and load share this machine.

    Attributes:
        processor: as ``/proc/cpuinfo`` names it.
        cores: that the test may use.
        memory_bytes: of the machine.
        kernel: its release.
        python: version of the interpreter that ran the test.
        packages: versions that matter to speed, such as ``tritonserver``, ``perf_analyzer``,
            ``onnxruntime``, ``numpy`` and ``modelport``.
    """

    processor: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    packages: dict[str, str] = Field(default_factory=dict)


class Settings(_Part):
    """How one model was served.

    Attributes:
        ensemble: it is one, so it computes nothing and its parts are what is queued for.
        instances: of the model.
        max_batch_size: 0 where the model takes no batches.
        preferred: preferred batch sizes of the dynamic batcher.
        delay_us: how long a request may wait for company; None without a dynamic batcher.
        threads: of one instance's onnxruntime session; None where it has none.
    """

    ensemble: bool = False
    instances: int | None = None
    max_batch_size: int = 0
    preferred: list[int] = Field(default_factory=list)
    delay_us: int | None = None
    threads: int | None = None


class Latency(_Part):
    """Times of all replies of a level, in ms, each from when it should have been asked for."""

    mean: NonNegativeFloat
    p50: NonNegativeFloat
    p90: NonNegativeFloat
    p95: NonNegativeFloat
    p99: NonNegativeFloat
    p999: NonNegativeFloat
    max: NonNegativeFloat


class Part(_Part):
    """What Triton's statistics say of one model during a level, per request that it answered.

    Attributes:
        queue_ms: mean wait of a request for its batch.
        compute_input_ms: mean time to gather its inputs.
        compute_infer_ms: mean time in the model.
        compute_output_ms: mean time to hand its outputs over.
        requests: that it answered; an ensemble's parts count each for itself.
        executions: of the model, each a batch.
        batches: executions by batch size.
    """

    queue_ms: NonNegativeFloat
    compute_input_ms: NonNegativeFloat
    compute_infer_ms: NonNegativeFloat
    compute_output_ms: NonNegativeFloat
    requests: NonNegativeInt
    executions: NonNegativeInt
    batches: dict[int, int] = Field(default_factory=dict)

    @property
    def compute_ms(self) -> float:
        """Mean time of a request outside the queue."""
        return self.compute_input_ms + self.compute_infer_ms + self.compute_output_ms

    @property
    def mean_batch(self) -> float | None:
        """Mean size of a batch; None where nothing was executed."""
        count = sum(self.batches.values())
        if count:
            return sum(size * times for size, times in self.batches.items()) / count
        return None


class Second(_Part):
    """One step of a level's timeline.

    Attributes:
        at_s: its end, from the level's begin.
        replies: that came in this step.
        p99_ms: of these; None without a reply.
    """

    at_s: NonNegativeFloat
    replies: NonNegativeInt
    p99_ms: NonNegativeFloat | None = None


class Level(_Part):
    """One load, held for a while.

    Attributes:
        name: ``concurrency 8``, ``200/s``, ``burst`` …: unique within a result.
        kind: the shape of the load. Callers of ``closed``, ``sequences`` and ``streams`` wait for
            each reply before they ask again, so a stall of the server keeps them from asking;
            ``open``, ``burst`` and ``ramp`` ask when the schedule says so.
        concurrency: callers, of a load whose callers wait.
        offered_per_s: mean rate of the schedule, of a load that has one.
        duration_s: that was measured.
        replies: right or wrong, errors not counted.
        errors: requests that got no reply.
        wrong: replies whose content is not what the version was proven with.
        replies_per_s: right replies a second.
        latency_ms: None without a reply.
        quantiles: pairs of share and latency in ms for the percentile plot, up to the share
            ``1 - 1 / replies``.
        first_response_ms: until a stream's first reply; None where nothing streams.
        stable: the figures of its thirds agree.
        spread: how far throughput of the thirds lies apart, relative to their mean; of a load
            at set times, how far replies lie behind requests.
        late_share: of the requests, those sent over 1 ms after the schedule wanted them.
        corrected: latency counts from when the schedule wanted the request, so that a server
            that stalls is not spared (coordinated omission).
        timeline: steps of about a second.
        parts: by model, of all that took part.
        server_cpu_ms: CPU time of the server's process tree per reply.
        load_cpu_ms: CPU time of the load generator per reply.
        memory_bytes: proportional set size of the server's process tree, right after the level.
        steal_share: of the machine's CPU time, what its host gave to others.
        others_share: of the machine's CPU time, what processes spent that are not of this test.
    """

    name: str
    kind: Kind
    concurrency: int | None = None
    offered_per_s: NonNegativeFloat | None = None
    duration_s: NonNegativeFloat
    replies: NonNegativeInt
    errors: NonNegativeInt = 0
    wrong: NonNegativeInt = 0
    replies_per_s: NonNegativeFloat
    latency_ms: Latency | None = None
    quantiles: list[tuple[Share, float]] = Field(default_factory=list)
    first_response_ms: Latency | None = None
    stable: bool = True
    spread: NonNegativeFloat = 0.0
    late_share: Share = 0.0
    corrected: bool = False
    timeline: list[Second] = Field(default_factory=list)
    parts: dict[str, Part] = Field(default_factory=dict)
    server_cpu_ms: NonNegativeFloat | None = None
    load_cpu_ms: NonNegativeFloat | None = None
    memory_bytes: NonNegativeInt | None = None
    steal_share: Share | None = None
    others_share: Share | None = None


class Checked(_Part):
    """Replies whose content was compared with what the version was proven with.

    Attributes:
        replies: that were compared.
        wrong: of these.
        first_problem: what the first wrong one was; empty where none was.
    """

    replies: NonNegativeInt = 0
    wrong: NonNegativeInt = 0
    first_problem: str = ""


class Content(_Part):
    """Checks of content before, during and after the load."""

    before: Checked = Checked()
    during: Checked = Checked()
    after: Checked = Checked()

    @property
    def wrong(self) -> int:
        """How many replies were wrong in all."""
        return self.before.wrong + self.during.wrong + self.after.wrong


class Disturbance(_Part):
    """How much of the machine others took while it was measured.

    Attributes:
        steal_share: of CPU time, by the machine's host.
        others_share: of CPU time, by processes that are not of this test.
        busy: so much that the figures are those of the neighbours, too.
        note: in words.
    """

    steal_share: Share = 0.0
    others_share: Share = 0.0
    busy: bool = False
    note: str = ""


class Judged(_Part):
    """Whether an objective was met.

    Attributes:
        text: the objective, as it was written.
        holds: None where what was measured does not tell.
        got: the worst figure of the levels that it is about, in ``unit``.
        unit: ``ms``, ``/s``, ``MiB``, or empty for a count.
        at: the level of that figure.
        why: in words.
    """

    text: str
    holds: bool | None
    got: float | None = None
    unit: str = ""
    at: str = ""
    why: str = ""


class Result(_Part):
    """What one load test found.

    Attributes:
        schema_version: of this file.
        profile: that was run, as it was, with what was left out filled in.
        model: that was asked.
        versions: by model, of all that took part.
        started: UTC.
        machine: where.
        settings: by model, how it was served.
        levels: in the order in which they were measured.
        content: what the checks of replies said.
        disturbance: what others did to the machine.
        objectives: each with what was found.
        verdict: ``pass`` only with every objective met and every reply right.
        reasons: why not, the most telling first.
    """

    schema_version: Literal[1] = 1
    profile: dict[str, Any] = Field(default_factory=dict)
    model: str
    versions: dict[str, int] = Field(default_factory=dict)
    started: AwareDatetime
    machine: Machine
    settings: dict[str, Settings] = Field(default_factory=dict)
    levels: list[Level]
    content: Content = Content()
    disturbance: Disturbance = Disturbance()
    objectives: list[Judged] = Field(default_factory=list)
    verdict: Verdict
    reasons: list[str] = Field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a ``result.json``, or that of a folder.

        Raises:
            ResultError: it is not there, or not a result.
        """
        file = path / FILE_NAME if path.is_dir() else path
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise ResultError(
                f"{file}: cannot be read: {error.strerror}",
                next_step="modelport perf run NAME writes one",
                path=file,
            ) from error
        except ValidationError as error:
            raise ResultError(
                f"{file}: {problems(error)}",
                cause="it is no result of `modelport perf run`, or of a newer Modelport",
                next_step="modelport perf run NAME writes one; docs/perf-result.schema.json",
                path=file,
            ) from error

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def problems(error: ValidationError) -> str:
    """Say what is wrong and where; what nobody knows before what is missing."""
    found = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    texts = [f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in found]
    more = f"; {len(texts) - _MOST_PROBLEMS} more" if len(texts) > _MOST_PROBLEMS else ""
    return "; ".join(texts[:_MOST_PROBLEMS]) + more


def schema() -> dict[str, Any]:
    """Give the JSON Schema of ``result.json``, in the dialect of 2020-12."""
    return {"$schema": GenerateJsonSchema.schema_dialect, **Result.model_json_schema()}
