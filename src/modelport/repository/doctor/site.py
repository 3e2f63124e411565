"""Rules about a repository as a whole, and about how its server is started."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator
from pathlib import Path

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.repair import DropBytecode
from modelport.repository.doctor.server_options import COMMAND_LINE, NAMES, Option, ServerOptions
from modelport.repository.doctor.subject import Site, Subject

BYTECODE = "__pycache__"
_SUCCESSORS = {
    "strict-model-config": "--disable-auto-complete-config",
    "response-cache-byte-size": "--cache-config=local,size=BYTES",
} | {
    f"trace-{name}": f"--trace-config {name}=…"
    for name in ("file", "level", "rate", "count", "log-frequency")
}
# The endpoints that can load models: switch, address, restriction, and how that is written.
_ENDPOINTS = (
    ("allow-http", "http-address", "http-restricted-api"),
    ("allow-grpc", "grpc-address", "grpc-restricted-protocol"),
)


def no_model_folder(site: Site) -> Iterator[Problem]:
    """A folder of the repository is no model, but Triton takes every folder for one."""
    if site.options is not None and site.options.control_mode == "explicit":
        return
    for path in sorted(site.repository.iterdir()):
        if path.is_dir() and (path.name == BYTECODE or path.name.startswith(".")):
            bytecode = is_bytecode(path)
            yield Problem(
                path=path,
                field="",
                expected="model folders only",
                got=path.name,
                fix="remove it" if bytecode else "move it out of the repository",
                severity="error" if site.options else None,
                repairs=(DropBytecode(path),) if bytecode else (),
            )


def is_bytecode(folder: Path) -> bool:
    """Tell whether a folder holds nothing but what Python writes there by itself."""
    return folder.name == BYTECODE and all(
        entry.suffix == ".pyc" and entry.is_file() for entry in folder.iterdir()
    )


def open_control(site: Site) -> Iterator[Problem]:
    """Whoever reaches the server may load models, and with them run code."""
    options = site.options
    if options is None or options.control_mode != "explicit":
        return  # the load API is off
    for switch, address, restriction in _ENDPOINTS:
        listens = options.value(address, "0.0.0.0")  # noqa: S104 - tritonserver's default
        restricted = any(
            "model-repository" in option.value.partition("=")[0]
            for option in options.options
            if option.name == restriction
        )
        if options.is_on(switch, default=True) and not restricted and not _is_local(listens):
            yield _at(
                options,
                options.last(address) or options.last("model-control-mode"),
                field=f"--{address}",
                expected="127.0.0.1, or a key for model-repository",
                got=f"{listens}, open to all that reach it",
                fix=f"add --{restriction}=model-repository:HEADER=SECRET",
            )


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def polls(site: Site) -> Iterator[Problem]:
    """The server looks at the repository by itself."""
    if site.options is not None and site.options.control_mode == "poll":
        yield _at(
            site.options,
            site.options.last("model-control-mode"),
            field="--model-control-mode",
            expected="explicit, and loads over gRPC when a version is complete",
            got="poll",
            fix="use explicit: modelport promotes without polling",
        )


def loads_twice(site: Site) -> Iterator[Problem]:
    """A polling server reads a new Python version, and again when its bytecode appears."""
    if site.options is None or site.options.control_mode != "poll":
        return
    for subject in site.subjects.values():
        for path in subject.sources():
            if path.parent.name.isdecimal() and not (path.parent / BYTECODE).is_dir():
                yield Problem(
                    path=path,
                    field="",
                    expected=f"{BYTECODE} beside it, or a repository that the server cannot write",
                    got="none",
                    fix=f"python -m compileall {path.parent}, before the version is moved in",
                )


def unknown_option(site: Site) -> Iterator[Problem]:
    """Tritonserver knows no such option."""
    for options, option in _options(site):
        if option.name in NAMES:
            continue
        near = difflib.get_close_matches(option.name, sorted(NAMES), n=1, cutoff=0.8)
        if near or options.path == COMMAND_LINE:  # a file may hold options of other programs
            yield _at(
                options,
                option,
                field=f"--{option.name}",
                expected="an option of tritonserver",
                got=f"--{option.name}",
                fix=f"did you mean --{near[0]}?" if near else "see tritonserver --help",
                severity="error" if near else "warning",
            )


def deprecated_option(site: Site) -> Iterator[Problem]:
    """An option has a successor."""
    for options, option in _options(site):
        if option.name in _SUCCESSORS:
            yield _at(
                options,
                option,
                field=f"--{option.name}",
                expected=_SUCCESSORS[option.name],
                got=f"--{option.name}",
                fix=f"use {_SUCCESSORS[option.name]}",
            )


def options_that_exclude_each_other(site: Site) -> Iterator[Problem]:
    """Tritonserver prints its usage and ends."""
    for options, option in _options(site):
        if option.name == "load-model" and options.control_mode != "explicit":
            expected, fix = "with --model-control-mode=explicit only", "add it, or load all models"
        elif option.name == "response-cache-byte-size" and options.last("cache-config"):
            expected, fix = "--cache-config alone", "remove --response-cache-byte-size"
        else:
            continue
        yield _at(
            options,
            option,
            field=f"--{option.name}",
            expected=expected,
            got=f"--{option.name} {option.value}".rstrip(),
            fix=fix,
        )


def cache_without_memory(site: Site) -> Iterator[Problem]:
    """Models ask for the response cache, but the server is given none."""
    options = site.options
    if options is None or options.last("cache-config") or options.last("response-cache-byte-size"):
        return
    for subject in site.subjects.values():
        config = subject.config_or_none
        if config and config.response_cache and config.response_cache.enable:
            yield Problem(
                path=subject.folder.config_path,
                field="response_cache.enable",
                expected="a server with --cache-config",
                got="no --cache-config",
                fix="add --cache-config=local,size=104857600, or remove response_cache",
            )


def incomplete_without_completion(site: Site) -> Iterator[Problem]:
    """A configuration leaves to the server what the server is told not to fill in."""
    options = site.options
    strict = options is not None and (
        options.last("disable-auto-complete-config") is not None
        or options.is_on("strict-model-config", default=False)
    )
    for subject in site.subjects.values() if strict else ():
        missing = _missing(subject)
        if missing:
            yield Problem(
                path=subject.folder.config_path
                if subject.folder.config_path.is_file()
                else subject.folder.path,
                field=missing,
                expected=f"{missing}, because auto-completion is off",
                got="none",
                fix="state it, or remove --disable-auto-complete-config",
            )


def _missing(subject: Subject) -> str:
    """Name what Triton would have to fill in; empty where nothing is."""
    config = subject.config_or_none
    if config is None:
        return "" if subject.folder.config_path.is_file() else "config.pbtxt"
    if not config.backend and not config.platform:
        return "backend"
    types = [t.data_type for t in config.input] + [t.data_type for t in config.output]
    if "TYPE_INVALID" in types:
        return "data_type"
    return "" if config.input or config.batch_input else "input"


def ready_without_models(site: Site) -> Iterator[Problem]:
    """The server says that it is ready whatever became of its models."""
    options = site.options
    if options is not None and not options.is_on("strict-readiness", default=True):
        yield _at(
            options,
            options.last("strict-readiness"),
            field="--strict-readiness",
            expected="true",
            got="false",
            fix="remove it, and ask /v2/models/NAME/ready where one model is enough",
        )


def _options(site: Site) -> Iterator[tuple[ServerOptions, Option]]:
    for option in site.options.options if site.options else ():
        assert site.options is not None
        yield site.options, option


def _at(options: ServerOptions, option: Option | None, **problem: str) -> Problem:
    """Make a problem that stands where an option does."""
    line = option.line if option is not None and options.path != COMMAND_LINE else None
    return Problem(path=options.path, line=line, **problem)  # type: ignore[arg-type]  # severity
