"""The python stubs of a server: which model each runs, and which of them died.

tritonserver neither restarts a dead stub nor says of the model that it is not
ready; but it does not reap the process either, so a dead stub stays a zombie.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from modelport.runtime import proc
from modelport.runtime.plan import Plan
from modelport.runtime.process import ServerProcess


class Stubs:
    """Keeps track of the stubs of one server; call :meth:`look` now and then.

    Args:
        process: the server.
        plan: its models, by whose folders the stubs are told apart.
    """

    def __init__(self, process: ServerProcess, plan: Plan) -> None:
        self._process = process
        self._folders: dict[str, str] = {}
        self._model_of: dict[int, str] = {}
        self._dead_since: dict[int, float] = {}
        self._given_up: set[int] = set()
        self.know(plan)

    def know(self, plan: Plan) -> None:
        """Learn of further models."""
        self._folders |= {str(m.folder.path.resolve()): name for name, m in plan.models.items()}

    def look(self) -> None:
        """Take note of all stubs; a stub's model can be read only while it lives."""
        now = time.monotonic()
        seen = self._process.stubs()
        for stub in seen:
            if stub.state == "Z":
                self._dead_since.setdefault(stub.pid, now)
            elif stub.pid not in self._model_of and (name := model_of(stub.pid, self._folders)):
                self._model_of[stub.pid] = name
        for pid in self._dead_since.keys() - {stub.pid for stub in seen}:
            del self._dead_since[pid]

    def dead(self, model: str, *, for_s: float = 0.0) -> bool:
        """Say whether a stub of ``model`` has been dead for at least ``for_s``."""
        return any(owner == model for owner in self._owners_of_dead(for_s))

    def nameless_dead(self, *, for_s: float) -> bool:
        """Say whether a stub died before its model could be read."""
        return None in self._owners_of_dead(for_s)

    def forget_dead(self, model: str) -> None:
        """Leave the dead stubs of ``model`` out from now on: it was loaded anew.

        tritonserver never reaps a stub that died with a request in its hands.
        """
        self._given_up |= {p for p in self._dead_since if self._model_of.get(p) == model}

    def _owners_of_dead(self, for_s: float) -> list[str | None]:
        now = time.monotonic()
        return [
            self._model_of.get(pid)
            for pid, since in self._dead_since.items()
            if pid not in self._given_up and now - since >= for_s
        ]


def model_of(pid: int, folders: Mapping[str, str]) -> str | None:
    """Read from a stub's command line whose file it runs: ``STUB MODEL/VERSION/FILE …``."""
    arguments = proc.command_line(pid)
    if len(arguments) < 2:
        return None
    parents = Path(arguments[1]).parents
    return next((folders[str(parent)] for parent in parents if str(parent) in folders), None)
