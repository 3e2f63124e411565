"""The running server takes other versions, model by model, without losing a request.

Triton loads one model at a time, and a request that names no version goes to the newest
that is loaded. Where one model changes, loading it with another version policy is enough:
Triton begins to use the new version when it is ready, and lets go of the old one when its
last request is answered. Where several parts of one public model change, an answer could be
made by the old half of them and the new: then the models over them are first bound to the
versions that serve, the parts get both, and one load of each public model switches it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from modelport.errors import LoadError
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.placing import labelled, only
from modelport.rollout.change import Change, Target
from modelport.rollout.serving import by_config, served_by
from modelport.runtime import bytecode, proc
from modelport.runtime.control import Refused
from modelport.runtime.grpc_control import GrpcControl
from modelport.runtime.process import stubs_of
from modelport.runtime.servers import RunningServer
from modelport.runtime.stubs import model_of
from modelport.spec.config import CALLS_PARAMETER, ModelConfig

LOAD_S = 60.0
_POLL_S = 0.01
Load = Callable[[str, ModelConfig], None]


@dataclass(frozen=True)
class Switch:
    """What one server has to do, worked out before the first load.

    Attributes:
        leaves: models that change and run no other that changes.
        over: models that run one that changes; those that change themselves among them.
        before: model to its configuration now, of all of these.
        after: model to its configuration then.
        versions: model to the version that serves now and the one that shall.
        behind: leaves of which the disk has changed since the server loaded them.
    """

    leaves: tuple[str, ...]
    over: tuple[str, ...]
    before: Mapping[str, ModelConfig]
    after: Mapping[str, ModelConfig]
    versions: Mapping[str, Change]
    behind: tuple[str, ...] = ()

    @property
    def together(self) -> bool:
        """Say whether models must be bound to versions meanwhile."""
        same = all(_unversioned(self.before[n]) == _unversioned(self.after[n]) for n in self.over)
        return bool(self.over) and (len(self.leaves) > 1 or not same)

    def forward(self, load: Load) -> None:
        """Load what shall serve.

        Raises:
            Refused: a load failed; :meth:`backward` brings back what was.
        """
        if self.together:
            # With the first model over them Triton would take them as the disk has them now.
            for name in self.behind:
                load(name, self.before[name])
            for name in self.over:
                load(name, self._bound(self.before[name], new=False))
            for name in self.leaves:
                load(name, self._both(name))
            for name in self.over:
                load(name, self._bound(self.after[name], new=True))
        for name in self.leaves:
            load(name, self.after[name])
        for name in self.over:
            if self.together or name in self.versions:
                load(name, self.after[name])

    def backward(self, load: Load) -> None:
        """Load what served, as far as that can be done."""
        for name in (*self.leaves, *self.over, *self.leaves):
            again = name in self.over or name in self.versions
            if again and self.versions.get(name, _SERVED).before:
                with suppress(Refused):
                    load(name, self.before[name])

    def _both(self, name: str) -> ModelConfig:
        change = self.versions[name]
        both = sorted({*change.before, change.after})
        return dataclasses.replace(self.after[name], version_policy=only(*both))

    def _bound(self, config: ModelConfig, *, new: bool) -> ModelConfig:
        """Name the versions of the parts in an ensemble, or in what a Python model calls."""
        versions = {
            name: change.after if new or not change.before else change.before[-1]
            for name, change in self.versions.items()
        }
        if scheduling := config.ensemble_scheduling:
            steps = tuple(
                dataclasses.replace(step, model_version=versions.get(step.model_name, -1))
                for step in scheduling.step
            )
            return dataclasses.replace(
                config, ensemble_scheduling=dataclasses.replace(scheduling, step=steps)
            )
        named = (f"{n}:{versions[n]}" if n in versions else n for n in config.calls)
        parameters = {**config.parameters, CALLS_PARAMETER: " ".join(named)}
        return dataclasses.replace(config, parameters=parameters)


_SERVED = Change("", (1,), 1)


def plan(
    target: Target, after: Mapping[str, ModelConfig], loaded: Mapping[str, Sequence[int]]
) -> Switch:
    """Work out the loads of a server.

    Args:
        target: what is to serve.
        after: configuration of every model that changes.
        loaded: versions that the server has, by model.
    """
    repository = target.repository
    changes = {
        c.model: dataclasses.replace(c, before=tuple(loaded[c.model]))
        for c in target.changes
        if c.model in loaded
    }
    before = {
        name: _as_loaded(repository.folder(name), versions)
        for name, versions in sorted(loaded.items())
        if repository.folder(name).config_path.is_file()
    }
    over = [
        name
        for name, config in before.items()
        if changes.keys() & (config.runs | after.get(name, config).runs)
    ]
    leaves = tuple(name for name in changes if name not in over)
    return Switch(
        leaves=leaves,
        over=tuple(over),
        before={name: before[name] for name in {*over, *changes} if name in before},
        after={name: after.get(name, before[name]) for name in {*over, *changes}},
        versions=changes,
        behind=tuple(n for n in leaves if changes[n].before != by_config(repository.folder(n))),
    )


def carry_out(server: RunningServer, target: Target, after: Mapping[str, ModelConfig]) -> float:
    """Have a running server switch; gives the seconds that it took.

    Raises:
        LoadError: it refused; what served before serves again.
        OSError: it does not answer.
    """
    start = time.monotonic()
    _compile(target, after)
    work = plan(target, after, served_by(server))
    with _control(server) as control:

        def load(name: str, config: ModelConfig) -> None:
            old = _stubs(server, target.repository, name) if config.calls else set()
            try:
                folder = target.repository.folder(name)
                control.load(name, timeout_s=LOAD_S, config=labelled(folder, config))
            except Refused as refusal:
                raise Refused(f"{name}: {refusal}") from refusal
            _wait_for_end(old)

        try:
            work.forward(load)
        except BaseException as error:  # Ctrl-C must not leave it in between either
            work.backward(load)
            if not isinstance(error, Refused):
                raise
            raise LoadError(
                f"the server at {server.endpoints.http} refused: {error}",
                cause="what serves there has not changed",
                next_step=f"see its log: {server.log}",
                log=server.log,
            ) from error
    return time.monotonic() - start


def _compile(target: Target, after: Mapping[str, ModelConfig]) -> None:
    """Write the bytecode of Python models that shall serve before the server looks at them.

    A stub that wrote it would change the folder, and with the next load of an ensemble over the
    model Triton would load it anew as config.pbtxt has it: in the version that served before.
    """
    for change in target.changes:
        if after[change.model].backend == "python":
            version_dir = target.repository.folder(change.model).version_dir(change.after)
            name = after[change.model].default_model_filename or "model.py"
            bytecode.write_beside(version_dir / name)


def _stubs(server: RunningServer, repository: Repository, name: str) -> set[int]:
    """Find the processes that run a Python model."""
    folders = {str(repository.folder(name).path.resolve()): name}
    return {p.pid for p in stubs_of(server.pid) if p.state != "Z" and model_of(p.pid, folders)}


def _wait_for_end(pids: set[int]) -> None:
    """Wait until the old instance of a model has answered what it had begun.

    It may still call its parts, in the versions that it was bound to.
    """
    deadline = time.monotonic() + LOAD_S
    while pids and time.monotonic() < deadline:
        pids = {pid for pid in pids if (found := proc.process(pid)) and found.state != "Z"}
        time.sleep(_POLL_S)


def align(server: RunningServer, repository: Repository, names: Sequence[str]) -> None:
    """Have a running server serve what config.pbtxt says, after a switch that was cut short.

    Raises:
        LoadError: it refused.
        OSError: it does not answer.
    """
    folders = {name: repository.folder(name) for name in sorted(served_by(server))}
    configs = {name: _fixed(f) for name, f in folders.items() if f.config_path.is_file()}
    affected = [n for n in configs if n in names or configs[n].runs & set(names)]
    # Models over others last: they find their parts as they shall be.
    affected.sort(key=lambda name: bool(configs[name].runs))
    with _control(server) as control:
        try:
            for name in affected:
                config = labelled(folders[name], configs[name])
                control.load(name, timeout_s=LOAD_S, config=config)
        except Refused as refusal:
            raise LoadError(
                f"{name}: {refusal}", next_step=f"see its log: {server.log}", log=server.log
            ) from refusal


def _control(server: RunningServer) -> GrpcControl:
    return GrpcControl(server.endpoints.grpc.removeprefix("grpc://"), server.control_key)


def _fixed(folder: ModelFolder) -> ModelConfig:
    """Read config.pbtxt with the versions that it comes to: new folders shall not count."""
    served = by_config(folder)
    config = folder.config()
    return dataclasses.replace(config, version_policy=only(*served)) if served else config


def _as_loaded(folder: ModelFolder, versions: Sequence[int]) -> ModelConfig:
    """Read how a server has a model, of which another version may have been built since."""
    if tuple(versions) == by_config(folder):
        return _fixed(folder)
    there = folder.version_dir(versions[-1]).is_dir()
    config = folder.config_of(versions[-1]) if there else folder.config()
    return dataclasses.replace(config, version_policy=only(*versions))


def _unversioned(config: ModelConfig) -> ModelConfig:
    return dataclasses.replace(config, version_policy=None)
