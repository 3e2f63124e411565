"""Promotion and roll back on the real server: right under load, safe after a crash."""

from __future__ import annotations

import json
import shutil
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from workplace import Workplace

from modelport.client import Client
from modelport.errors import IntegrityError, ModelportError, PromotionError
from modelport.repository.layout import Repository
from modelport.rollout import history, promotion
from modelport.rollout.serving import served_by
from modelport.runtime import cache, servers
from modelport.runtime.server import Server

# An answer of x = 1 that the halves of two versions made together is neither 5 nor 22.
BUILDER = """\
import numpy
import torch
from modelport import spec

X, HALF, Y = (spec.Tensor(name, "FP32", (1,)) for name in ("x", "half", "y"))
ONE = spec.Sample({"x": numpy.array([1.0], "float32")})


class Times(torch.nn.Module):
    def forward(self, x):
        return x * TIMES


class Plus(torch.nn.Module):
    def forward(self, half):
        return half + PLUS


def called(inputs, call):
    return {"y": call("plus", {"half": call("times", {"x": inputs["x"]})["half"]})["y"]}


times = spec.TorchModel(
    name="times", inputs=(X,), outputs=(HALF,), max_batch_size=8, network=Times,
    samples=lambda: [ONE], data=DATA, evaluate=EVALUATE, gates=GATES,
)
plus = spec.TorchModel(name="plus", inputs=(HALF,), outputs=(Y,), max_batch_size=8, network=Plus)
models = (
    times,
    plus,
    spec.Ensemble.chain(times, plus, name="chained", doc="By an ensemble."),
    spec.PythonModel(
        name="called", inputs=(X,), outputs=(Y,), max_batch_size=8, reference=called,
        calls=("times", "plus"), samples=lambda: [ONE], doc="By code that calls.",
    ),
)
"""
CODE = """\
from functools import partial

from modelport.serving import bls
from modelport.serving.python_model import answer_each


class TritonPythonModel:
    def initialize(self, args):
        self.call = bls.caller(args)

    def execute(self, requests):
        return answer_each(requests, self.answer)

    def answer(self, inputs):
        half = self.call("times", {"x": inputs["x"]})
        return {"y": self.call("plus", {"half": half["half"]})["y"]}
"""
ANSWERS = {1: 5.0, 2: 22.0}


def build(workplace: Workplace, times: float, plus: float, *, accuracy: float = 1.0) -> None:
    data = (
        "lambda: __import__('modelport.build').build.Dataset.split("
        "{'x': __import__('numpy').ones((40, 1), 'float32')},"
        " __import__('numpy').zeros(40, 'int64'), stratify=False)"
    )
    values = {
        "TIMES": times, "PLUS": plus, "DATA": data,
        "EVALUATE": f"lambda outputs, targets: {{'accuracy': {accuracy}}}",
        "GATES": "(spec.Gate('accuracy', at_least=0.5),)",
    }  # fmt: skip
    text = BUILDER
    for name, value in values.items():
        text = text.replace(name, str(value))
    workplace.builder("halves", text)
    workplace.code("called", CODE)
    workplace.build()


def promote(workplace: Workplace, version: int, **given: object) -> promotion.Outcome:
    place = Repository(workplace.repository)
    checked = promotion.check(place, "chained", version, lambda _: None)
    return promotion.promote(place, checked, "chained", version, **given)  # type: ignore[arg-type]


def roll_back(workplace: Workplace, to: int | None = None) -> promotion.Outcome:
    place = Repository(workplace.repository)
    return promotion.roll_back(place, promotion.previous(place, "chained", to), "chained")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    """Build two versions, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(own_cache))
        workplace = Workplace(tmp_path_factory.mktemp("made"))
        build(workplace, 2.0, 3.0)
        promote(workplace, 1)
        build(workplace, 10.0, 12.0)
    return workplace.path


@pytest.fixture
def two(workplace: Workplace, made: Path) -> Workplace:
    """Version 1 serves because it was promoted; version 2 waits."""
    for folder in ("builders", "repository"):
        shutil.copytree(made / folder, workplace.path / folder)
    return workplace


@pytest.fixture
def server(two: Workplace) -> Iterator[Server]:
    with Server.start(two.repository) as running:
        yield running


def served(workplace: Workplace) -> dict[str, list[int]]:
    return {f.name: f.served_versions() for f in Repository(workplace.repository).models()}


def all_serve(version: int) -> dict[str, list[int]]:
    return {name: [version] for name in ("called", "chained", "plus", "times")}


def test_the_life_of_a_version_under_load(two: Workplace, server: Server) -> None:
    """8 clients, 20 switches of two halves each: no request is lost, no answer is a mixture."""
    assert served(two) == all_serve(1)
    answers: Counter[tuple[str, float]] = Counter()
    problems: list[str] = []
    took: list[float] = []
    done = threading.Event()

    def ask(place: int) -> None:
        name = ("chained", "called")[place % 2]
        url = server.endpoints.grpc if place % 4 < 2 else server.endpoints.http
        with Client(url) as client:
            while not done.is_set():
                start = time.perf_counter()
                try:
                    y = client.infer(name, {"x": np.ones((1, 1), np.float32)})["y"]
                    answers[name, y.item()] += 1
                except ModelportError as error:
                    problems.append(f"{name}: {error}")
                took.append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    outcome = promote(two, 2, reason="better")
    assert list(outcome.servers) == [server.endpoints.http]
    for _ in range(19):
        roll_back(two)
    done.set()
    for thread in threads:
        thread.join()
    print(f"median {statistics.median(took) * 1e3:.1f} ms, worst {max(took) * 1e3:.0f} ms")
    assert problems == []
    assert {answer for _, answer in answers} == set(ANSWERS.values())
    assert {name for name, _ in answers} == {"chained", "called"}
    assert served(two) == all_serve(1)
    (running,) = servers.running(two.repository)
    assert served_by(running) == served(two)
    entries = history.read(two.repository)
    assert [entry.action for entry in entries] == ["promote", "promote", *["rollback"] * 19]
    assert history.disagreements(Repository(two.repository), entries) == []


def test_what_was_built_while_a_server_ran_does_not_serve_yet(two: Workplace) -> None:
    """Nothing was promoted: the server has the version that was the newest when it started."""
    away = two.path / "away"
    for folder in Repository(two.repository).models():
        (away / folder.name).mkdir(parents=True)
        shutil.copyfile(folder.version_dir(1) / "config.pbtxt", folder.config_path)
        folder.version_dir(2).rename(away / folder.name / "2")
    (two.repository / history.FILE_NAME).unlink()
    with Server.start(two.repository) as server:
        for folder in Repository(two.repository).models():
            (away / folder.name / "2").rename(folder.version_dir(2))
        outcome = promote(two, 2)
        assert {tuple(s.before) for s in outcome.entry.changes.values()} == {(1,)}
        with Client(server.endpoints.grpc) as client:
            for version in (2, 1):
                y = client.infer("chained", {"x": np.ones((1, 1), np.float32)})["y"]
                assert y.item() == ANSWERS[version]
                assert served(two) == all_serve(version)
                if version == 2:
                    roll_back(two)


def test_a_version_that_is_worse_needs_a_reason(two: Workplace) -> None:
    promote(two, 2)
    build(two, 20.0, 1.0, accuracy=0.9)
    with pytest.raises(PromotionError, match=r"accuracy is 0\.9 in version 3 and 1 in version 2"):
        promote(two, 3)
    assert served(two)["chained"] == [2]
    (two.repository / "modelport.toml").write_text("[models.times]\nmost_worse = 0.2\n")
    promote(two, 3)
    assert served(two)["times"] == [3]
    roll_back(two)
    (two.repository / "modelport.toml").unlink()
    outcome = promote(two, 3, force=True, reason="the others are worse still")
    assert outcome.entry.overruled == [
        "times: accuracy is 0.9 in version 3 and 1 in version 2: worse by 0.1, allowed is 0.005"
    ]


def test_one_changed_byte_keeps_a_version_from_serving(two: Workplace) -> None:
    path = two.repository / "times" / "2" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = two.content()
    with pytest.raises(IntegrityError, match="sha256 differs"):
        promote(two, 2)
    assert two.content() == before


@pytest.mark.parametrize("step", ["switched", "journal", "moved"])
def test_a_crash_leaves_the_old_or_the_new(
    two: Workplace, server: Server, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the server switched, after the journal, or after the first rename."""
    from modelport.repository import publish

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    real_move, moved = publish._move, []
    if step == "switched":
        monkeypatch.setattr(publish, "apply", kill)
    elif step == "journal":
        monkeypatch.setattr(publish, "_move", kill)
    else:
        monkeypatch.setattr(
            publish, "_move", lambda *a: kill() if moved else moved.append(real_move(*a))
        )
    with monkeypatch.context() as patch:
        # What a killed process does not do either.
        patch.setattr(publish, "discard", lambda *_: None)
        with pytest.raises(Killed):
            promote(two, 2)
    monkeypatch.undo()
    monkeypatch.setenv(cache.VARIABLE, str(_cache_of(server)))
    assert promotion.cut_short(two.repository)
    promotion.recover(Repository(two.repository), lambda _: None)
    assert not promotion.cut_short(two.repository)
    expected = 1 if step == "switched" else 2
    assert served(two) == all_serve(expected)
    with Client(server.endpoints.grpc) as client:
        for name in ("chained", "called"):
            y = client.infer(name, {"x": np.ones((1, 1), np.float32)})["y"]
            assert y.item() == ANSWERS[expected]
    assert history.disagreements(Repository(two.repository), history.read(two.repository)) == []


def _cache_of(server: Server) -> Path:
    assert server._state_file is not None
    return server._state_file.parents[1]


def test_a_terminal_sees_all_of_it(two: Workplace) -> None:
    place = ["--repository", "repository"]
    dry = two.run(["promote", "chained", "2", *place, "--dry-run", "--json"])
    assert dry.returncode == 0, dry.stderr
    assert json.loads(dry.stdout)["changes"]["times"] == {"before": [1], "after": 2}
    assert served(two)["chained"] == [1]
    done = two.run(["promote", "chained", "2", *place, "--reason", "it adds twelve"])
    assert done.returncode == 0, done.stderr
    assert "no server runs here" in done.stderr
    listed = json.loads(two.run(["versions", "chained", *place, "--json"]).stdout)
    assert [(v["version"], v["serves"]) for v in listed["versions"]] == [(2, True), (1, False)]
    assert listed["versions"][0]["parts"] == {"plus": 2, "times": 2}
    back = two.run(["rollback", "chained", *place, "--json"])
    assert json.loads(back.stdout)["entry"]["version"] == 1
    shown = two.run(["history", *place])
    assert "it adds twelve" in shown.stdout
    assert two.run(["promote", "chained", "7", *place]).returncode == 20
    assert two.run(["promote", "chained", "2", *place, "--force"]).returncode == 2
    log = two.repository / history.FILE_NAME
    log.write_text(log.read_text().replace("it adds twelve", "it adds eleven"))
    tampered = two.run(["history", *place])
    assert tampered.returncode == IntegrityError.exit_code
    assert "line 2: the entry does not fit its digest" in tampered.stderr
