"""The committed wrappers are clean for pyright's strictest, and show their types in an editor."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
USE = """\
from activity import Activity
from digits import AsyncDigits, Digits
from recommender import Recommender, RecommenderInput
from summarizer_stream import SummarizerStream

with Digits() as digits:
    reveal_type(digits("x.png").label)
    reveal_type(digits("x.png").scores)
    reveal_type(digits.batch(["a.png", b"content"]))
with Activity("x").sequence() as sequence:
    reveal_type(sequence.send([[1.0]]).label)
reveal_type([response.title for response in SummarizerStream().stream("x", seed=3)])
reveal_type(Recommender().batch([RecommenderInput(user_id="1")])[0].titles)


async def ask(digits: AsyncDigits) -> None:
    reveal_type((await digits("x.png")).probability)
"""
REVEALED = [
    "Literal['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']",
    "ndarray[tuple[Any, ...], dtype[floating[_32Bit]]]",
    "list[DigitsResult]",
    "list[Literal['Badminton', 'Running', 'Standing', 'Walking']]",
    "list[str]",
    "list[str]",
    "float",
]


def test_pyright(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "clients").symlink_to(ROOT / "clients")
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.10",
        "include": ["clients", "use.py"],
        "extraPaths": ["clients", str(ROOT / "src")],
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    options = ["--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pyright", *options], capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] > len(list((ROOT / "clients").glob("*.py")))
    found = report["generalDiagnostics"]
    assert [one["message"] for one in found if one["severity"] == "error"] == []
    types = [re.sub(r'^Type of .* is "(.*)"$', r"\1", one["message"]) for one in found]
    assert types == REVEALED
