"""What perf_analyzer wrote down of each request, and whether the replies were right.

perf_analyzer's ``--profile-export-file`` holds of every request when it was sent, when each
response came, what was sent and what came back (2.51.0 to 2.60.0). A level has some ten thousand
requests and few different replies, so texts are compared first and each different one is read
once.

Source: the fields are those of docs/measurements_metrics.md and of the file itself. Texts of the
file are the tensors' bytes, whatever their encoding, of several strings with the length of each
but the first in front (4 bytes, little-endian).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.errors import LoadTestError
from modelport.perf.questions import Question, Questions
from modelport.verify.parity import compare

_BEGIN = b'{"timestamp":'
_RESPONSES = b',"response_timestamps":['
_OUTPUTS = b',"response_outputs":'
_INPUTS = b'"request_inputs":'
_NEXT = b'},{"timestamp":'
_LAST = b'}],"window_boundaries":'
_WINDOWS = re.compile(rb'"window_boundaries":\[([\d,]*)\]')
_NS = 1e-9


@dataclass(frozen=True)
class Records:
    """What happened at one level of load; times in seconds from an origin of its own.

    Attributes:
        start_s: when each request was sent, ascending; ``float64[n]``.
        end_s: when its last response came.
        first_s: when its first response came.
        intended_s: when the schedule wanted it; None of a closed loop.
        window_s: begin and end of what was measured.
        checked: replies whose content was compared.
        wrong: what is wrong with those that are not as proven, of each that is.
        lost: requests of the schedule that have no reply.
    """

    start_s: np.ndarray
    end_s: np.ndarray
    first_s: np.ndarray
    intended_s: np.ndarray | None
    window_s: tuple[float, float]
    checked: int = 0
    wrong: Sequence[str] = ()
    lost: int = 0

    @property
    def within(self) -> np.ndarray:
        """Which replies came in what was measured: ``bool[n]``."""
        begin, end = self.window_s
        return np.asarray((self.end_s >= begin) & (self.end_s <= end))

    @property
    def replies_per_s(self) -> float:
        """Replies a second of what was measured."""
        return float(self.within.sum()) / self.took_s

    @property
    def latencies_ms(self) -> np.ndarray:
        """Latency of each reply, from when the schedule wanted it, where there is one."""
        return np.asarray((self.end_s - self._asked_s) * 1e3)

    @property
    def first_ms(self) -> np.ndarray:
        """Time to each first response."""
        return np.asarray((self.first_s - self._asked_s) * 1e3)

    @property
    def late_ms(self) -> np.ndarray:
        """How much later than intended each request was sent; zeros of a closed loop."""
        return np.asarray((self.start_s - self._asked_s) * 1e3)

    @property
    def took_s(self) -> float:
        """How long was measured."""
        return self.window_s[1] - self.window_s[0]

    @property
    def _asked_s(self) -> np.ndarray:
        return self.start_s if self.intended_s is None else self.intended_s


def read(
    path: Path,
    questions: Questions,
    schedule_s: np.ndarray | None = None,
    duration_s: float = 0.0,
) -> Records:
    """Read an export and hold every reply against what was proven.

    Args:
        path: what perf_analyzer wrote.
        questions: that were asked.
        schedule_s: when each request was to be sent, from the start of the load: ``float64[n]``.
        duration_s: of the schedule, which may end a while after its last request.

    Raises:
        LoadTestError: the file is no such export, or holds no request.
    """
    content = path.read_bytes()
    check = _Check(questions)
    rows = [check.row(*fields) for fields in _requests(content)]
    windows = _WINDOWS.search(content, max(0, len(content) - 1_000_000))
    if windows is None:
        raise LoadTestError(
            f"perf_analyzer's records end after {len(rows)} requests",
            cause="a reply holds NaN or an infinity, which it cannot write; or the disk is full",
            next_step=f"modelport infer {questions.model} with the samples; df {path.parent}",
            path=path,
        )
    if not rows:
        raise LoadTestError(
            f"{path}: perf_analyzer wrote down no request",
            cause="the load was too short for a single reply",
            next_step="give the profile a longer duration",
            path=path,
        )
    times = np.array(sorted(rows), dtype=np.float64) * _NS
    origin = times[0, 0]
    start, first, end = (times - origin).T
    bounds = [int(ns) * _NS - origin for ns in windows[1].split(b",")]
    window = (bounds[0], bounds[-1])
    intended = None
    if schedule_s is not None:
        intended, began = _aligned(start, schedule_s)
        # What was measured is the schedule, and what it took beyond it until the last reply.
        window = (began, max(float(end.max()), began + duration_s))
    lost = 0 if schedule_s is None else max(len(schedule_s) - len(start), 0)
    return Records(start, end, first, intended, window, check.checked, tuple(check.wrong), lost)


def _aligned(start: np.ndarray, schedule_s: np.ndarray) -> tuple[np.ndarray, float]:
    """Give when requests should have been sent, and when the schedule began, in records' time.

    No request is sent before its time, so the one that was least late tells when the schedule
    began. Requests are matched in their order, which makes none look earlier than it was.
    """
    wanted = np.sort(schedule_s)[: len(start)]
    began = float((start[: len(wanted)] - wanted).min())
    extra = start[len(wanted) :]  # sent beyond the schedule: perf_analyzer begins it anew
    return np.concatenate([wanted + began, extra]), began


def _requests(content: bytes) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Take the file apart: sequence and time, inputs, response times and outputs of each request.

    A quote within a text has a backslash before it, so that what is looked for stands nowhere
    but where it belongs.
    """
    at = content.find(_BEGIN)
    while at >= 0:
        inputs = content.find(_INPUTS, at)
        responses = content.find(_RESPONSES, inputs)
        outputs = content.find(_OUTPUTS, responses)
        if min(inputs, responses, outputs) < 0:
            return
        end = content.find(_NEXT, outputs)
        if end < 0 and (end := content.find(_LAST, outputs)) < 0:
            return
        yield (
            content[at + len(_BEGIN) : inputs],
            content[inputs + len(_INPUTS) : responses],
            content[responses + len(_RESPONSES) : outputs - 1],
            content[outputs + len(_OUTPUTS) : end],
        )
        at = content.find(_BEGIN, end)


class _Check:
    """Compares replies, each different one once."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._by_input: dict[bytes, list[Question]] = {}
        self._verdicts: dict[tuple[bytes, bytes], str] = {}
        self._known = list(_known(questions))
        self.checked = 0
        self.wrong: list[str] = []

    def row(
        self, head: bytes, inputs: bytes, responses: bytes, outputs: bytes
    ) -> tuple[int, int, int]:
        """Check one request; gives when it was sent, first and last answered, in nanoseconds."""
        times = [int(ns) for ns in responses.split(b",") if ns]
        sent = int(head.partition(b",")[0])
        key = (inputs, outputs)
        if key not in self._verdicts:
            self._verdicts[key] = self._judge(inputs, outputs)
        self.checked += 1
        if problem := self._verdicts[key]:
            self.wrong.append(problem)
        return sent, min(times, default=sent), max(times, default=sent)

    def _judge(self, inputs: bytes, outputs: bytes) -> str:
        if inputs not in self._by_input:
            self._by_input[inputs] = self._asked(json.loads(inputs.decode("latin-1")))
        asked = self._by_input[inputs]
        if not asked:
            return "a reply to a request that was not asked"
        answers = json.loads(outputs.decode("latin-1"))
        # Two steps of sequences may look the same, and have answers of their own.
        problems = [self._problem(answers, question) for question in asked]
        return "" if "" in problems else problems[0]

    def _problem(self, answers: Sequence[Mapping[str, Any]], question: Question) -> str:
        try:
            got = _arrays(answers, question.outputs)
        except ValueError as error:
            return str(error)
        return compare(got, question.outputs, self._questions.tolerance).describe()

    def _asked(self, inputs: Mapping[str, Any]) -> list[Question]:
        """Find the questions whose inputs these are."""
        return [
            question
            for question, forms in self._known
            if all(_same(inputs.get(name), form) for name, form in forms.items())
        ]


def _known(questions: Questions) -> Iterator[tuple[Question, dict[str, Any]]]:
    """Give each question with its inputs as the file has them."""
    for stream in questions.streams:
        for question in stream:
            yield question, {name: _form(array) for name, array in question.inputs.items()}


def _form(array: np.ndarray) -> Any:
    array = np.asarray(array)
    if array.dtype == object:
        return _joined([_bytes(item) for item in array.flat])
    # Python's numbers: integers of 64 bits are no float64.
    numbers: list[Any] = np.ravel(array).tolist()
    return numbers


def _same(found: Any, form: Any) -> bool:
    if isinstance(form, bytes):
        return isinstance(found, str) and found.encode("latin-1") == form
    if found is None or found == "":  # how the file writes a tensor without elements
        return found == "" and not form
    return bool((found if isinstance(found, list) else [found]) == form)


def _arrays(
    answers: Sequence[Mapping[str, Any]], expected: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Make arrays of the responses to one request.

    Raises:
        ValueError: they cannot be what is expected; says why.
    """
    if not answers:
        raise ValueError("an empty reply")
    found = {}
    for name, array in expected.items():
        for answer in answers:
            if name not in answer:
                has = ", ".join(answer) or "nothing"
                raise ValueError(f"{name}: missing, the answer has {has}")
        make = _texts if array.dtype == object else _numbers
        found[name] = make(name, [answer[name] for answer in answers], array)
    return found


def _numbers(name: str, values: Sequence[Any], expected: np.ndarray) -> np.ndarray:
    parts = [np.ravel(np.asarray(value)) for value in values if value != ""]
    flat = np.concatenate(parts) if parts else np.empty(0, expected.dtype)
    if flat.size != expected.size:
        raise ValueError(f"{name}: {flat.size} elements, expected {expected.size}")
    return flat.astype(expected.dtype).reshape(expected.shape)


def _texts(name: str, values: Sequence[str], expected: np.ndarray) -> np.ndarray:
    """Give what is expected, if the responses say just that."""
    texts = [_bytes(item) for item in expected.flat]
    responses = [value.encode("latin-1") for value in values]
    # The last response of a stream may hold nothing but the word that it is the last.
    if len(responses) > 1 and not responses[-1] and len(responses) > len(texts):
        responses.pop()
    left = texts
    for response in responses:
        count = next((n for n in range(1, len(left) + 1) if _joined(left[:n]) == response), 0)
        if not count and (response or left):
            meant = _joined(left) if len(responses) == 1 else b"".join(left[:1])
            raise ValueError(f"{name}: {_short(response)}, expected {_short(meant)}")
        left = left[count:]
    if left:
        raise ValueError(f"{name}: {len(texts) - len(left)} strings, expected {len(texts)}")
    return expected


def _joined(texts: Sequence[bytes]) -> bytes:
    """Join strings as the file has them: the length of the first is left out."""
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)[4:]


def _bytes(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _short(text: bytes) -> str:
    return repr(text[:60].decode(errors="replace")) + ("…" if len(text) > 60 else "")
