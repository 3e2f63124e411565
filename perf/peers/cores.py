"""How many CPUs there are for everybody: the servers' workers, the bare loop, the shares."""

from __future__ import annotations

import os
from collections.abc import Mapping

ALLOWED = sorted(os.sched_getaffinity(0))
"""The CPUs that this program, and whatever it starts, may run on."""
COUNT = len(ALLOWED)
WORD = "cores"
"""Stands in settings for their number."""


def resolved(settings: Mapping[str, object]) -> dict[str, object]:
    """Put the number where settings say ``cores``."""
    return {key: COUNT if value == WORD else value for key, value in settings.items()}
