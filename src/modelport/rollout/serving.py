"""Which versions serve at this moment: what every promotion starts from.

Where a promotion has named the versions, config.pbtxt says it. Where it has not, Triton takes the
newest when it loads a model, so a server that runs may have an older one than was built since:
then what it has is what serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelport.repository.layout import ModelFolder, Repository
from modelport.runtime import servers
from modelport.runtime.control import Control
from modelport.runtime.servers import RunningServer


@dataclass(frozen=True)
class Serving:
    """What serves from a repository.

    Attributes:
        loaded: versions by model on the servers that run here.
    """

    repository: Repository
    loaded: Mapping[str, Sequence[int]]

    @classmethod
    def now(cls, repository: Repository) -> Serving:
        """Look at the servers that run on this machine; one that does not answer has nothing."""
        loaded: dict[str, Sequence[int]] = {}
        for server in reversed(servers.running(repository.path)):
            with suppress(OSError):
                loaded |= served_by(server)
        return cls(repository, loaded)

    def versions(self, model: str) -> tuple[int, ...]:
        """Versions of a model that serve, ascending."""
        folder = self.repository.folder(model)
        there = [v for v in self.loaded.get(model, ()) if folder.version_dir(v).is_dir()]
        return tuple(there) if there and not folder.promoted else by_config(folder)


def by_config(folder: ModelFolder) -> tuple[int, ...]:
    """Versions that a server takes which loads the model now, ascending."""
    return tuple(folder.served_versions()) if folder.config_path.is_file() else ()


def served_by(server: RunningServer) -> dict[str, list[int]]:
    """Give the versions that a server has ready, by model; raises OSError."""
    address = urlsplit(server.endpoints.http)
    control = Control(address.hostname or "", address.port or 0, server.control_key)
    found: dict[str, list[int]] = {}
    for state in control.index():
        if state.state == "READY":
            found.setdefault(state.name, []).append(int(state.version))
    return {name: sorted(versions) for name, versions in found.items()}
