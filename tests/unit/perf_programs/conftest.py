"""The programs of perf/ are run, not installed: their folder is put where imports look."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "perf"))
