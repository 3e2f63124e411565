"""Does what a runner of GitHub does with a workflow file, as far as ours needs it.

The commands of every ``run:`` step are run for real, by the shell and with the files that a
runner gives them. In place of the actions that it ``uses:``, functions of the test do their
work: to clone, to restore a cache.

Source: GitHub's reference "Workflow syntax for GitHub Actions" and "Expressions".
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

# bash, as `shell: bash` is run.
SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
# A net under a command that hangs.
LIMIT_S = 300.0

_TOKEN = re.compile(r"'(?:[^']|'')*'|&&|\|\||!=|==|!|[A-Za-z_][\w.-]*|[(),]|\s+")
_OPERATORS = {"&&": " and ", "||": " or ", "!": " not "}
_WHOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)

Values = Mapping[str, Any]
Action = Callable[["Step"], None]


def read(path: Path) -> dict[str, Any]:
    """Read a workflow; YAML takes its key ``on`` for a truth."""
    workflow: dict[str, Any] = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in workflow.items()}


def evaluate(expression: str, contexts: Values) -> Any:
    """Evaluate an expression, such as ``github.ref == 'refs/heads/main' && always()``."""
    tokens = _TOKEN.findall(expression)
    assert "".join(tokens) == expression, f"no expression that this runner knows: {expression}"
    words = []
    for place, token in enumerate(tokens):
        if token[0].isalpha() or token[0] == "_":
            calls = tokens[place + 1 : place + 2] == ["("]
            words.append(f"functions[{token!r}]" if calls else f"value({token!r})")
        else:
            quoted = repr(token[1:-1].replace("''", "'")) if token[0] == "'" else token
            words.append(_OPERATORS.get(token, quoted))

    def value(name: str) -> Any:
        found: Any = contexts
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    names = {"__builtins__": {}, "value": value, "functions": contexts["functions"]}
    return eval("".join(words).strip(), names)


def text(value: Any) -> str:
    """Show a value as GitHub does where text is wanted."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def filled(template: Any, contexts: Values) -> str:
    """Fill the expressions of a text in."""
    return _WHOLE.sub(lambda found: text(evaluate(found[1], contexts)), text(template))


def holds(condition: Any, contexts: Values, *, failed: bool) -> bool:
    """Say whether a step is run: after a failure only one that asks for it."""
    words = _WHOLE.sub(r"\1", text(condition)) or "success()"
    asks = re.search(r"\b(always|failure|cancelled|success)\(", words)
    return bool(evaluate(words, contexts)) and (bool(asks) or not failed)


@dataclass
class Step:
    """A step that was run.

    Attributes:
        given: the inputs of an action.
        environment: that the workflow, the job and the step set.
        exit_code: of its commands; None for an action.
        output: stdout and stderr of its commands.
    """

    name: str
    given: dict[str, str]
    environment: dict[str, str]
    exit_code: int | None = None
    output: str = ""


@dataclass
class Job:
    """What came of a job."""

    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    failed: bool = False

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def names(self) -> list[str]:
        return [step.name for step in self.steps]


@dataclass
class Runner:
    """Runs the jobs of a workflow in one folder, as the runners of one repository do.

    Attributes:
        folder: where it works; the checkout lies in ``work``.
        workflow: as :func:`read` gives it.
        base: environment of all commands.
        github: the context of that name, the same for all runs.
        settings: ``vars`` and ``secrets`` of the repository; environments may have their own.
        once: scripts that would do the same again, and are run the first time only.
        actions: what to do for an action, by name without its version.
    """

    folder: Path
    workflow: Values
    base: Mapping[str, str]
    github: Values
    settings: Mapping[str, Mapping[str, Mapping[str, str]]]
    actions: Mapping[str, Action]
    once: set[str] = field(default_factory=set)
    _done: set[str] = field(default_factory=set)

    @property
    def workspace(self) -> Path:
        return self.folder / "work"

    def run(self, name: str, event: Values, needs: Mapping[str, Job] | None = None) -> Job | None:
        """Run a job; None where its condition does not hold."""
        job = self.workflow["jobs"][name]
        contexts = self._contexts(job, event, needs or {})
        if not holds(job.get("if"), contexts, failed=False):
            return None
        done = Job()
        files = self._files()
        contexts["functions"]["success"] = lambda: not done.failed
        for source in (self.workflow, job):
            for key, value in source.get("env", {}).items():
                contexts["env"][key] = filled(value, contexts)
        for step in job["steps"]:
            if holds(step.get("if"), contexts, failed=done.failed):
                self._step(step, contexts, files, done)
        done.summary = files["GITHUB_STEP_SUMMARY"].read_text()
        done.outputs = {k: filled(v, contexts) for k, v in job.get("outputs", {}).items()}
        return done

    def _contexts(self, job: Values, event: Values, needs: Mapping[str, Job]) -> dict[str, Any]:
        self.workspace.parent.mkdir(parents=True, exist_ok=True)
        github = {**self.github, **event, "workspace": str(self.workspace)}
        contexts: dict[str, Any] = {
            "github": github,
            "runner": {"os": "Linux", "arch": "X64", "temp": str(self.folder / "temp")},
            "needs": {name: {"outputs": of.outputs} for name, of in needs.items()},
            "steps": {},
            "env": {},
            "functions": {
                "always": lambda: True,
                "success": lambda: True,
                "hashFiles": self._hash_files,
            },
        }
        place = self.settings.get(filled(job.get("environment", ""), contexts), {})
        every = self.settings[""]
        trusted = event.get("secrets", True)
        contexts["vars"] = {**every.get("vars", {}), **place.get("vars", {})}
        contexts["secrets"] = (
            {**every.get("secrets", {}), **place.get("secrets", {})} if trusted else {}
        )
        return contexts

    def _hash_files(self, *names: str) -> str:
        return "".join(name for name in names if (self.workspace / name).is_file())

    def _files(self) -> dict[str, Path]:
        (self.folder / "temp").mkdir(parents=True, exist_ok=True)
        names = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
        files = {name: self.folder / name.lower() for name in names}
        for file in files.values():
            file.write_text("")
        return files

    def _step(
        self, step: Values, contexts: dict[str, Any], files: Mapping[str, Path], done: Job
    ) -> None:
        own = {key: filled(value, contexts) for key, value in step.get("env", {}).items()}
        given = {key: filled(value, contexts) for key, value in step.get("with", {}).items()}
        made = Step(step.get("name", step.get("uses", "")), given, {**contexts["env"], **own})
        done.steps.append(made)
        if "uses" in step:
            self.actions[step["uses"].partition("@")[0]](made)
            return
        assert "${{" not in step["run"], "what others write would become part of a command"
        if made.name in self._done:
            made.exit_code = 0
            return
        self._command(step["run"], made, files)
        self._done |= {made.name} & self.once
        done.failed |= made.exit_code != 0
        if "id" in step:
            contexts["steps"][step["id"]] = {"outputs": _outputs(files["GITHUB_OUTPUT"])}
        files["GITHUB_OUTPUT"].write_text("")

    def _command(self, script: str, made: Step, files: Mapping[str, Path]) -> None:
        file = self.folder / "temp" / "step.sh"
        file.write_text(script)
        done = subprocess.run(
            [*SHELL, str(file)],
            cwd=self.workspace,
            env={
                **self.base,
                **{name: str(path) for name, path in files.items()},
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(self.workspace),
                "RUNNER_TEMP": str(self.folder / "temp"),
                **made.environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        file.unlink()
        made.exit_code, made.output = done.returncode, done.stdout


def _outputs(file: Path) -> dict[str, str]:
    """Read what a step wrote for others: ``name=value``, or ``name<<END`` and lines up to END."""
    found, lines = {}, iter(file.read_text().splitlines())
    for line in lines:
        name, several, end = line.partition("<<")
        if several:
            found[name] = "\n".join(iter(lambda end=end: next(lines), end))  # type: ignore[misc]
        else:
            name, _, found[name.strip()] = line.partition("=")
    return found


def gh(folder: Path) -> Path:
    """Write a ``gh`` that knows ``pr comment NUMBER --body-file FILE``, and keeps the comment."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "gh"
    program.write_text(
        "#!/bin/sh\n"
        'test "$1 $2 $4" = "pr comment --body-file" || { echo "gh: $*" >&2; exit 2; }\n'
        'test -n "$GH_TOKEN" && test -n "$GH_REPO" || { echo "gh: who?" >&2; exit 4; }\n'
        f'cp "$5" "{folder}/comment-$3.md"\n'
    )
    program.chmod(0o755)
    return program


def where(workflow: Values, word: str) -> Sequence[str]:
    """Name the places of a workflow that speak of something: ``job``, or ``job: step``."""
    found = []
    for name, job in workflow["jobs"].items():
        outside = {key: value for key, value in job.items() if key != "steps"}
        found += [name] if word in json.dumps(outside) else []
        found += [
            f"{name}: {step.get('name', step.get('uses'))}"
            for step in job["steps"]
            if word in json.dumps(step)
        ]
    rest = {key: value for key, value in workflow.items() if key != "jobs"}
    return found + (["workflow"] if word in json.dumps(rest) else [])


def environment(bin_folder: Path, interpreter: Path) -> dict[str, str]:
    """Give the environment of a runner: the usual one, without what this user has set."""
    own = ("AWS_", "MODELPORT_", "GITHUB_", "PIP_", "GH_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    path = f"{bin_folder}:{interpreter.parent}:{os.environ['PATH']}"
    # pip looks whether what it would install is there already, and changes nothing.
    return {**kept, "PATH": path, "PIP_NO_INDEX": "1", "PIP_DRY_RUN": "1"}
