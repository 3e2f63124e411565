"""From the wish that a version serves to the entry in the log.

The order survives a crash at any point. Which versions serve stands in config.pbtxt alone::

    check       digests, figures, answers: nothing has changed
    intent      a file names what is about to change
    server      takes the new versions: a crash leaves a server ahead of the disk
    disk        config.pbtxt of all models and the log, in one journal: all or nothing
    done        the intent is removed

The next promotion or roll back finds an intent that was left, finishes the journal if there is
one, and has the server serve what the disk says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from modelport.errors import PromotionError
from modelport.perf.compare import Comparison
from modelport.repository import publish, trust
from modelport.repository.layout import Repository
from modelport.repository.publish import Move
from modelport.repository.settings import Settings
from modelport.rollout import change as changes
from modelport.rollout import gates, history, intent, staging, switch
from modelport.rollout.change import Target
from modelport.rollout.history import Entry, Switched
from modelport.rollout.intent import Tell
from modelport.rollout.serving import Serving
from modelport.runtime import servers
from modelport.verify.latency import Ratio


@dataclass(frozen=True)
class UnderLoad:
    """What a version may be under load beside the one that serves.

    Attributes:
        bounds: B over A, by figure.
        named: figures that have to be measured.
        on_turn: hears of each turn: its load, how many rounds are done, of how many.
    """

    bounds: Mapping[str, float]
    named: Collection[str] = ()
    on_turn: Callable[[str, int, int], None] = lambda *_: None


@dataclass(frozen=True)
class Checked:
    """A target and what was found of it.

    Attributes:
        objections: how it falls behind what serves, or behind its own proof.
        breaking: what fails for those who call the models as they were.
        speed: of public models that change, one caller's median latency against what serves.
        under_load: of the same, where it was asked for.
        not_loaded: why nothing was loaded though it was asked for; empty where something was.
    """

    target: Target
    figures: gates.Figures
    objections: Sequence[str] = ()
    breaking: Sequence[str] = ()
    speed: Mapping[str, Ratio] = field(default_factory=dict)
    under_load: Mapping[str, Comparison] = field(default_factory=dict)
    not_loaded: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was done.

    Attributes:
        entry: in the log.
        servers: endpoint to the seconds that its switch took; empty where none runs here.
    """

    entry: Entry
    servers: Mapping[str, float]


def check(
    repository: Repository,
    model: str,
    version: int,
    tell: Tell,
    *,
    under_load: UnderLoad | None = None,
) -> Checked:
    """Hold a version, and all that goes with it, against its proof and against what serves.

    Args:
        repository: where the model lies.
        model: its name.
        version: that is to serve.
        tell: hears of every step.
        under_load: what it is held to under load; None for no load.

    Raises:
        RepositoryError: there is no such version, or another model would be left behind.
        IntegrityError: a file is not what was proven.
        LoadError: it does not load.
        ResultError: the load does not tell a figure that is named.
    """
    # Brings the client and the means to start a server, which a roll back does without.
    from modelport.rollout import trial

    publish.finish(repository.path)
    settings = Settings.read(repository.path)
    target = changes.target(repository, model, version)
    verify_files(target)
    if not target.changes:
        return Checked(target, {})
    figures = gates.figures(target)
    objections = list(gates.objections(target, settings))
    tried = trial.run(target, settings, tell)
    compared = trial.compared(target)
    loaded: Mapping[str, Comparison] = {}
    not_loaded = _not_loaded(tried.objections, compared)
    if under_load is not None and not not_loaded:
        # Brings perf_analyzer, which no other promotion needs.
        from modelport.rollout import load_gate

        loaded = load_gate.run(
            target,
            compared,
            under_load.bounds,
            tell,
            named=under_load.named,
            on_turn=under_load.on_turn,
        )
    worse = [ratio.words for one in loaded.values() for ratio in one.named("regression")]
    return Checked(
        target=target,
        figures=figures,
        objections=[*objections, *tried.objections, *worse],
        under_load=loaded,
        not_loaded=not_loaded if under_load is not None else "",
        breaking=list(gates.breaking(target)),
        speed=tried.speed,
    )


def _not_loaded(objections: Sequence[str], compared: Collection[str]) -> str:
    """Say why versions are not loaded beside those that serve; empty where they can be."""
    if objections:
        return "what stands against it already was found without a load"
    if not compared:
        return "no public model that serves already changes, so there is nothing to hold it against"
    return ""


def verify_files(target: Target) -> None:
    """Hold the versions that are to serve against their manifests, and their signatures.

    Raises:
        IntegrityError: a file is missing, differs or is in no manifest; or a version is not
            signed and modelport.toml demands it.
    """
    trusted = trust.demanded(target.repository.path)
    for name, version in sorted(target.versions.items()):
        # It brings its own config.pbtxt and labels, so those that lie there now do not count.
        trust.check(target.repository.folder(name), version, trusted, live=False)


def promote(
    repository: Repository,
    checked: Checked,
    model: str,
    version: int,
    *,
    reason: str = "",
    force: bool = False,
    allow_breaking: bool = False,
    keep_config: bool = False,
) -> Outcome:
    """Have a checked version serve.

    Args:
        repository: where.
        checked: what :func:`check` found.
        model: that was named.
        version: that was named.
        reason: goes into the log.
        force: overrule the objections, and what breaks callers too.
        allow_breaking: overrule what breaks callers.
        keep_config: leave hand edits of config.pbtxt as they are.

    Raises:
        PromotionError: there are objections, or something else was promoted meanwhile.
        ConfigError: config.pbtxt was edited by hand.
        LoadError: a running server refused; nothing has changed.
    """
    _refuse_objections(checked, model, version, force=force, allow_breaking=allow_breaking)
    return _serve(
        repository,
        checked,
        action="promote",
        model=model,
        version=version,
        reason=reason,
        keep_config=keep_config,
    )


def _refuse_objections(
    checked: Checked, model: str, version: int, *, force: bool, allow_breaking: bool
) -> None:
    breaking = () if force or allow_breaking else checked.breaking
    objections = () if force else checked.objections
    standing = [*objections, *breaking]
    if not standing:
        return
    causes = {
        "it falls behind what serves, or behind its own proof": objections,
        "those who call it as it was would fail, or misread its answers": breaking,
    }
    way = "--force" if objections else "--allow-breaking"
    listing = "\n".join(f"  {objection}" for objection in standing)
    raise PromotionError(
        f"{model} {version} is not promoted\n{listing}",
        cause="; ".join(cause for cause, found in causes.items() if found),
        next_step=f'modelport promote {model} {version} {way} --reason "why all the same"',
        model=model,
        version=version,
        objections=standing,
    )


def previous(repository: Repository, model: str, to: int | None = None) -> Target:
    """Find what served before the last change of a model, or with its version ``to``.

    Raises:
        PromotionError: the log knows of no earlier version.
        IntegrityError: the log was tampered with, or a version is not what was proven.
    """
    repository.model(model)
    entries = [e for e in history.read(repository.path) if model in e.changes]
    now = Serving.now(repository).versions(model)
    for entry in reversed(entries):
        before = entry.changes[model].before
        if to is None and before and before != list(now):
            return _as_it_was(repository, entry)
        if to is not None and before == [to]:
            return _as_it_was(repository, entry)
    if to is not None:
        return changes.target(repository, model, to)
    raise PromotionError(
        f"the log knows of no version of {model} that served before",
        cause="nothing was promoted yet, so the newest version serves",
        next_step=f"modelport rollback {model} --to VERSION; modelport versions {model} lists them",
        model=model,
    )


def roll_back(repository: Repository, target: Target, model: str, *, reason: str = "") -> Outcome:
    """Have versions serve that served before; their files are checked, and nothing is tried.

    Raises:
        IntegrityError: a file is not what was proven.
        LoadError: a running server refused; nothing has changed.
    """
    verify_files(target)
    checked = Checked(target, gates.figures(target))
    version = target.versions[model]
    return _serve(
        repository, checked, action="rollback", model=model, version=version, reason=reason
    )


def _as_it_was(repository: Repository, entry: Entry) -> Target:
    """Undo an entry: all that changed together goes back together."""
    versions = {
        name: switched.before[-1] for name, switched in entry.changes.items() if switched.before
    }
    return changes.back(repository, versions)


def _serve(
    repository: Repository,
    checked: Checked,
    *,
    action: Literal["promote", "rollback"],
    model: str,
    version: int,
    reason: str,
    keep_config: bool = False,
) -> Outcome:
    target = checked.target
    with publish.locked(repository.path):
        intent.recover_locked(repository, lambda _: None)
        _refuse_outdated(target)
        stage = publish.new_stage_locked(repository.path, "promote")
        try:
            with publish.explained(repository.path, "stage"):
                configs = staging.stage(target, stage, keep_config=keep_config)
                entry, log = history.appended(
                    repository.path,
                    action=action,
                    model=model,
                    version=version,
                    changes={
                        c.model: Switched(before=list(c.before), after=c.after)
                        for c in target.changes
                    },
                    reason=reason,
                    overruled=[*checked.objections, *checked.breaking],
                    figures=checked.figures,
                )
                (stage / history.FILE_NAME).write_text(log, encoding="utf-8")
            moves = [
                *staging.moves(target, stage),
                Move(stage / history.FILE_NAME, repository.path / history.FILE_NAME),
            ]
            with intent.noted(repository, stage, [c.model for c in target.changes]) as switched:
                for server in servers.running(repository.path):
                    switched[server] = switch.carry_out(server, target, configs)
                publish.apply(repository.path, moves)
        finally:
            publish.discard(repository.path, stage)
    return Outcome(entry, {server.endpoints.http: took for server, took in switched.items()})


def _refuse_outdated(target: Target) -> None:
    serving = Serving.now(target.repository)
    for one in target.changes:
        now = serving.versions(one.model)
        if now != one.before:
            raise PromotionError(
                f"{one.model}: {', '.join(map(str, now)) or 'nothing'} serves now, no longer"
                f" {', '.join(map(str, one.before)) or 'nothing'}",
                cause="somebody promoted, or started or ended a server, meanwhile",
                next_step="look at modelport history, and promote again if it is still right",
                model=one.model,
            )
    for name, version in sorted(target.versions.items()):
        if not target.repository.folder(name).is_proven(version):
            raise PromotionError(
                f"{name}: version {version} was removed meanwhile",
                cause="modelport gc, or a sync, took it for one that nobody needs",
                next_step=f"modelport versions {name}; pin what must stay in modelport.toml",
                model=name,
                version=version,
            )
