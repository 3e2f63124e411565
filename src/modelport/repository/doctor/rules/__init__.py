"""The table of all rules.

Ids are stable: 0xx the doctor itself, 1xx the folder, 2xx config.pbtxt by itself,
3xx the network's file, 4xx ensembles, 5xx Python models, 6xx manifests, 7xx the
options of the server. Sources name files of Triton's repositories (core, server,
onnxruntime_backend, python_backend, tensorrt_backend) or of ONNX, issues of
Triton's, or what was tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelport.repository.doctor.finding import Problem, Rule
from modelport.repository.doctor.rules import code, graphs, settings, site
from modelport.repository.doctor.subject import Site, Subject

CRASHED, BAD_IGNORE, IDLE_IGNORE = "MP001", "MP002", "MP003"
NO_MODEL = "MP111"
"""Is about the repository, so it is not shown to who asks for a model."""


def _by_doctor(_: object) -> Iterator[Problem]:
    """Find nothing: the doctor reports these of its own work."""
    yield from ()


_OWN = "docs/doctor.md"
# fmt: off
OWN_RULES: tuple[Rule[object], ...] = (
    Rule(CRASHED, "error", "a rule could not finish",
         "nothing is known about what it looks for",
         "check that the files can be read; if they can, report this to Modelport",
         _OWN, _by_doctor),
    Rule(BAD_IGNORE, "warning", "an ignore that does not count",
         "without a known rule and a reason nobody can tell later whether it still holds",
         "write `# modelport: ignore RULE reason`",
         _OWN, _by_doctor),
    Rule(IDLE_IGNORE, "note", "an ignore that ignores nothing",
         "it would hide the next real finding of that rule",
         "remove the comment",
         _OWN, _by_doctor),
)
# fmt: on
MODEL_RULES: tuple[Rule[Subject], ...] = (*settings.RULES, *graphs.RULES, *code.RULES)
SITE_RULES: tuple[Rule[Site], ...] = site.RULES
RULES: tuple[Rule[Any], ...] = tuple(
    sorted((*OWN_RULES, *MODEL_RULES, *SITE_RULES), key=lambda rule: rule.id)
)
