"""Bytecode is written once, and anew when the code has changed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from modelport.runtime import bytecode, plan


def test_it_is_what_python_takes(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m"
    code = folder / "1" / "model.py"
    code.parent.mkdir(parents=True)
    code.write_text("x = 1\n")
    (folder / "config.pbtxt").write_text('name: "m" backend: "python"\n')
    model = plan.make([folder.parent]).models["m"]
    compiled = Path(importlib.util.cache_from_source(str(code)))

    bytecode.write(model)
    first = compiled.stat().st_mtime_ns
    bytecode.write(model)
    assert compiled.stat().st_mtime_ns == first

    # A copy has another time than the original that its bytecode was made from.
    os.utime(code, (1, 1))
    bytecode.write(model)
    assert compiled.stat().st_mtime_ns > first

    code.write_text("def (")
    bytecode.write(model)  # the stub will say what is wrong
