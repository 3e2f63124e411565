"""The workflow of docs/ci.md: every command in it is run here, against a real S3 server."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import actions
import numpy as np
import pytest
import seaweed
from actions import Job, Runner, Step
from seaweed import S3, opened

from modelport import __version__
from modelport.client import Client
from modelport.repository import keys
from modelport.repository.stores import contents
from modelport.runtime import cache
from modelport.runtime.server import Server

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / "docs" / "ci" / "modelport.yml"

BUILDER = """\
import numpy
import torch
from modelport import spec
from modelport.build import Dataset


class Times(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(1))  # one class alone has no loss: it stays

    def forward(self, x):
        return x * {factor} + self.bias


model = spec.TorchModel(
    name="{name}",
    inputs=(spec.Tensor("x", "FP32", (1,)),),
    outputs=(spec.Tensor("y", "FP32", (1,)),),
    network=Times,
    training=spec.Training(epochs=1),
    samples=lambda: [spec.Sample({{"x": numpy.array([1.0], "float32")}})],
    data=lambda: Dataset.split(
        {{"x": numpy.ones((40, 1), "float32")}}, numpy.zeros(40, "int64"), stratify=False
    ),
    evaluate=lambda outputs, targets: {figures},
    gates=(spec.Gate("accuracy", at_least=0.5),),
)
"""
MAIN = {"event_name": "push", "ref": "refs/heads/main", "actor": "ada", "run_id": "1"}
PULL_REQUEST = {
    "event_name": "pull_request",
    "ref": "refs/pull/7/merge",
    "actor": "ada",
    "run_id": "2",
    "event": {"number": 7, "pull_request": {"head": {"repo": {"full_name": "shop/models"}}}},
}
FORK: dict[str, Any] = {
    **PULL_REQUEST,
    "event": {"number": 8, "pull_request": {"head": {"repo": {"full_name": "eve/models"}}}},
    "secrets": False,
}


class Shop:
    """A repository at GitHub with two models, its runners, and what they publish to."""

    def __init__(self, folder: Path, s3: S3, own_cache: Path, prefix: str) -> None:
        self.folder, self.url, self._cache = folder, s3.url(prefix), own_cache
        self.origin = folder / "origin"
        self.origin.mkdir()
        self.key = folder / "team"
        public = keys.generate(self.key, "open sesame")
        self._git("init", "--quiet", "--initial-branch=main")
        self.write("requirements.txt", f"modelport[build,s3,sign]=={__version__}\n")
        self.write("constraints.txt", (ROOT / "constraints.txt").read_text())
        self.write("team.pub", public.path.read_text())
        demand = '[trust]\nrequire = true\nkeys = ["../team.pub"]\n'
        self.write("model_repository/modelport.toml", demand)
        actions.gh(folder / "bin")
        reads, writes = s3.environment(seaweed.READER), s3.environment()
        signs = {
            "MODELPORT_SIGNING_KEY": self.key.read_text(),
            "MODELPORT_KEY_PASSPHRASE": "open sesame",
        }
        places: dict[str, dict[str, dict[str, str]]] = {
            "": {"vars": {"MODELPORT_STORE": self.url, "AWS_ENDPOINT_URL": s3.endpoint}},
            "models-review": {"secrets": _credentials(reads)},
            "models-publish": {"secrets": {**_credentials(writes), **signs}},
            "models-production": {"secrets": _credentials(writes)},
        }
        quiet = {key: value for key, value in writes.items() if not key.endswith(("KEY", "KEY_ID"))}
        self.runner = Runner(
            folder / "runner",
            actions.read(WORKFLOW),
            {**actions.environment(folder / "bin", Path(sys.executable)), **quiet},
            {"repository": "shop/models", "server_url": "https://github.example", "token": "t"},
            places,
            {
                "actions/checkout": self._checkout,
                "actions/setup-python": lambda step: None,
                "actions/cache": self._toolchain,
                "actions/cache/restore": self._restore,
                "actions/cache/save": self._save,
                "github/codeql-action/upload-sarif": self._sarif,
            },
            once={"Install"},
        )

    def write(self, path: str, text: str) -> None:
        file = self.origin / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, **models: tuple[float, float]) -> None:
        """Write builder files, model to factor and accuracy, and commit all."""
        for name, (factor, accuracy) in models.items():
            figures = {
                "accuracy": accuracy,
                "accuracy_low": accuracy - 0.05,
                "accuracy_high": accuracy + 0.05,
            }
            text = BUILDER.format(name=name, factor=factor, figures=figures)
            self.write(f"builders/{name}.py", text)
        self._git("add", "--all")
        self._git("-c", "user.name=a", "-c", "user.email=a", "commit", "--quiet", "-m", "change")

    def build(self, event: Mapping[str, Any] = MAIN) -> Job:
        job = self.runner.run("build", event)
        assert job is not None
        return job

    def promote(self, built: Job) -> Job | None:
        return self.runner.run("promote", MAIN, {"build": built})

    def comment(self, number: int) -> str:
        file = self.folder / "bin" / f"comment-{number}.md"
        return file.read_text() if file.is_file() else ""

    def published(self) -> dict[str, list[int]]:
        store = opened(self.url)
        return {name: m.complete_versions() for name, m in contents.read(store).items()}

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", str(self.origin), *arguments], check=True)

    def _checkout(self, step: Step) -> None:
        """A fresh clone, at the same place each time."""
        shutil.rmtree(self.runner.workspace, ignore_errors=True)
        clone = ["git", "clone", "--quiet", str(self.origin), str(self.runner.workspace)]
        subprocess.run(clone, check=True)

    def _toolchain(self, step: Step) -> None:
        for path in step.given["path"].split():
            link, real = self.runner.workspace / path, self._cache / Path(path).name
            link.parent.mkdir(exist_ok=True)
            if real.exists():
                link.symlink_to(real)

    def _restore(self, step: Step) -> None:
        if step.given["key"].startswith("tritonserver"):
            self._toolchain(step)
        elif (self.folder / "kept").is_dir():
            shutil.copytree(self.folder / "kept", self.runner.workspace, dirs_exist_ok=True)

    def _save(self, step: Step) -> None:
        for path in step.given["path"].split():
            if (self.runner.workspace / path).is_dir():
                target = self.folder / "kept" / path
                shutil.copytree(self.runner.workspace / path, target, dirs_exist_ok=True)

    def _sarif(self, step: Step) -> None:
        file = self.runner.workspace / step.given["sarif_file"]
        assert json.loads(file.read_text())["version"] == "2.1.0"


def _credentials(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: environment[k] for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


def said(job: Job) -> str:
    return "\n".join(f"== {step.name} ({step.exit_code})\n{step.output}" for step in job.steps)


def outcome(job: Job) -> dict[str, str]:
    """What a build did, by model; a step that it took again is one that it did not keep."""
    output = job.step("Build and prove what has changed").output
    table = dict(re.findall(r"^ *(\w+) +(\d+ +(?:un)?\w+) *$", output, re.MULTILINE))
    for model, state in table.items():
        steps = re.findall(rf"^ *{model}: (?:train|export|slim) .*$", output, re.MULTILINE)
        kept = all(step.endswith("kept") for step in steps)
        assert "published" in state or kept, output
    return {model: " ".join(state.split()) for model, state in table.items()}


@pytest.fixture
def shop(tmp_path: Path, s3: S3, own_cache: Path, request: pytest.FixtureRequest) -> Shop:
    return Shop(tmp_path, s3, own_cache, request.node.name.replace("_", "-"))


@pytest.fixture
def machine(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that serves what it gets from the store."""
    monkeypatch.setenv(cache.VARIABLE, str(own_cache))
    return tmp_path / "machine" / "models"


def modelport(*arguments: object) -> str:
    """Run the command as a user of the serving machine."""
    command = [sys.executable, "-m", "modelport.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_from_a_change_to_the_machine_that_serves_it(shop: Shop, machine: Path) -> None:
    shop.commit(double=(2.0, 0.9), triple=(3.0, 0.8))
    # The store is empty: both models are new, and serve as soon as they are there.
    first = shop.build()
    assert not first.failed, said(first)
    assert "`double` | 1 " in first.summary
    assert "new: serves as soon as it is pushed" in first.summary
    assert first.outputs == {"promote": ""}
    assert shop.promote(first) is None
    assert shop.published() == {"double": [1], "triple": [1]}

    modelport("sync", "--from", shop.url, "--repository", machine, "--served", "--delete")
    with Server.start(machine) as server:
        assert _doubled(server) == 2.0

        # A pull request changes one of them: it is built and compared, and goes nowhere.
        shop.commit(double=(2.5, 0.95))
        review = shop.build(PULL_REQUEST)
        assert not review.failed, said(review)
        assert outcome(review) == {"double": "2 published", "triple": "1 unchanged"}
        table = shop.comment(7)
        assert "`double` | 1 → 2 | `accuracy` 0.9 (0.85 to 0.95) → 0.95 (0.9 to 1), +0.05" in table
        assert "✓ ok" in table
        assert "triple" not in table
        assert table == review.summary
        assert {"Sign", "Publish"}.isdisjoint(review.names())
        assert shop.published() == {"double": [1], "triple": [1]}

        # Merged: it is signed and published, and waits.
        merged = shop.build()
        assert not merged.failed, said(merged)
        assert outcome(merged) == {"double": "2 published", "triple": "1 unchanged"}
        assert shop.published() == {"double": [1, 2], "triple": [1]}
        assert merged.outputs == {"promote": "double 2"}
        assert not list((shop.runner.folder / "temp").iterdir()), "the key stayed"
        modelport("sync", "--from", shop.url, "--repository", machine, "--served", "--delete")
        assert _doubled(server) == 2.0

        # Somebody approves.
        promoted = shop.promote(merged)
        assert promoted is not None
        assert not promoted.failed, said(promoted)
        assert "https://github.example/shop/models/actions/runs/1" in promoted.summary
        modelport("sync", "--from", shop.url, "--repository", machine, "--served", "--delete")
        assert _doubled(server) == 2.5

    told = json.loads(modelport("history", "--repository", machine, "--json"))
    assert [(e["model"], e["version"]) for e in told["entries"]] == [("double", 2)]
    assert told["disagreements"] == []
    assert told["entries"][-1]["digest"] in promoted.summary
    assert "no problems" in modelport("doctor", "--repository", machine)

    # Nothing has changed: no builder file is run, and there is nothing to promote.
    again = shop.build()
    assert not again.failed, said(again)
    assert outcome(again) == {"double": "2 unchanged", "triple": "1 unchanged"}
    assert "kept" not in again.step("Build and prove what has changed").output
    assert "nothing new to" in again.step("Publish").output
    assert shop.promote(again) is None


def _doubled(server: Server) -> float:
    with Client(server.endpoints.http) as client:
        found = client.infer("double", {"x": np.ones((1, 1), np.float32)})["y"]
    return float(found.item())


def test_who_may_not_write_gets_no_further(shop: Shop) -> None:
    """A fork has no secrets; another key than the team's signs nothing that is published."""
    shop.commit(double=(2.0, 0.9))
    fork = shop.build(FORK)
    assert not fork.failed, said(fork)
    assert {"Fetch what is published", "Comment", "Sign", "Publish"}.isdisjoint(fork.names())
    assert "`double` | 1 " in fork.summary

    other = keys.generate(shop.folder / "other")
    places = dict(shop.runner.settings)
    secrets = dict(places["models-publish"]["secrets"])
    secrets |= {"MODELPORT_SIGNING_KEY": other.path.with_suffix("").read_text()}
    places["models-publish"] = {"secrets": {**secrets, "MODELPORT_KEY_PASSPHRASE": ""}}
    shop.runner.settings = places
    wrong = shop.build()
    assert wrong.failed
    assert "not to be trusted" in wrong.step("Sign").output
    assert "Publish" not in wrong.names()
    assert shop.published() == {}
    assert not list((shop.runner.folder / "temp").iterdir()), "the key stayed"

    places["models-publish"] = {"secrets": {}}
    nobody = shop.build()
    assert nobody.failed
    assert "no credentials" in nobody.step("Fetch what is published").output
    assert "Build and prove what has changed" not in nobody.names()


def test_the_workflow_gives_away_no_more_than_it_must() -> None:
    workflow = actions.read(WORKFLOW)
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["promote"]["permissions"] == {"contents": "read"}
    assert actions.where(workflow, "secrets.MODELPORT") == ["build: Sign"]
    assert actions.where(workflow, "secrets.AWS") == [
        "build: Fetch what is published",
        "build: Publish",
        "promote: Fetch and verify",
        "promote: Publish",
    ]
    assert actions.where(workflow, "github.token") == ["build: Comment"]
    assert "pull_request_target" not in workflow["on"]


def test_the_signing_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Runs the lines of the step that write it."""
    workflow = actions.read(WORKFLOW)
    sign = next(s for s in workflow["jobs"]["build"]["steps"] if s.get("name") == "Sign")
    lines = [line for line in sign["run"].splitlines() if not line.startswith("modelport")]
    script = "\n".join([*lines, 'stat -c %a "$RUNNER_TEMP/signing-key"'])
    done = subprocess.run(
        [*actions.SHELL, "-c", script],
        env={"RUNNER_TEMP": str(tmp_path), "SIGNING_KEY": "secret", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"{stat.S_IRUSR | stat.S_IWUSR:o}"
    assert "secret" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
