"""The servers: how each is started, asked and counted. Settings are in each one's own folder."""

from __future__ import annotations

import shutil
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from peers import cores, encodings, environments, private
from peers.encodings import Encoding
from peers.networks import Network

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
Command = Sequence["str | Path"]


@dataclass(frozen=True)
class Place:
    """Where a server is started.

    Attributes:
        network: what it serves.
        model: the ONNX file.
        ports: free ones.
        folder: an empty one, for what it writes.
        settings: of the server for this model, numbers in the place of ``cores``.
    """

    network: Network
    model: Path
    ports: Sequence[int]
    folder: Path
    settings: Mapping[str, object]


@dataclass(frozen=True)
class Contestant:
    """One server.

    Attributes:
        name: its folder, and its name on the command line.
        title: for people.
        encoding: the best that it offers, as trials found.
        command: gives what starts it.
        files: what a user writes to have a model served, in its folder; settings in braces.
        port: which of the ports is asked.
        grpc_port: which of them takes the Open Inference Protocol over gRPC, if any does.
        batched: the encoding of its service that takes batches, where that takes another one.
        environment: variables beside those that every server gets.
        own: whether it runs in an environment of its own.
        private: whether it runs in a network of its own, for want of a setting.
        settle_s: how long after its first answer it is left alone.
    """

    name: str
    title: str
    encoding: Encoding
    command: Callable[[Place, Path], Command]
    files: tuple[str, ...]
    port: int = 0
    grpc_port: int | None = None
    batched: Encoding | None = None
    environment: Callable[[Place], Mapping[str, str]] = field(default=lambda _: {})
    own: bool = True
    private: bool = False
    settle_s: float = 0.0

    def over_grpc(self) -> Contestant:
        """Give it asked over gRPC, where it can be; to see that its encoding is the better one."""
        if self.grpc_port is None:
            return self
        return replace(self, encoding=encodings.v2_grpc(), port=self.grpc_port)

    def asked_in(self, settings: Mapping[str, object]) -> Encoding:
        """Give the encoding with which it is asked when it has these settings."""
        if self.batched is not None and settings["service"] == "service_batched":
            return self.batched
        return self.encoding

    def python(self) -> Path:
        """Give the interpreter that has it; installs it the first time."""
        return environments.install(self.name).python if self.own else Path(sys.executable)

    def version(self) -> str:
        """Name what is measured, with its version."""
        if self.own:
            text = environments.requirements(self.name).read_text(encoding="utf-8")
            return environments.package(text)
        from modelport import __version__

        return f"modelport=={__version__}"

    def _tables(self) -> dict[str, dict[str, object]]:
        path = HERE / self.name / "settings.toml"
        return tomllib.loads(path.read_text(encoding="utf-8"))

    def documented(self) -> dict[str, object]:
        """Give the settings that no sweep has chosen."""
        return self._tables()["all"]

    def swept(self, network: Network) -> bool:
        """Say whether a sweep has chosen its settings for a model."""
        return network.name in self._tables()

    def settings(self, network: Network) -> dict[str, object]:
        """Read its settings for a model."""
        found = self._tables()
        return {**found["all"], **found.get(network.name, {})}

    def variables(self, place: Place) -> dict[str, str]:
        """Give the environment that its program reads."""
        network = place.network
        return {
            "MODEL": str(place.model),
            "DTYPE": network.dtype.name,
            "SHAPE": ",".join(map(str, network.shape)),
            "PORT": str(place.ports[0]),
            "CORES": str(cores.COUNT),
            # As many threads as the settings say, and none that numpy or others would add.
            "OMP_NUM_THREADS": "1",
            **{key.upper(): str(value) for key, value in place.settings.items()},
            # Else ONNX Runtime reports to its maker, in threads of its own.
            "ORT_DISABLE_TELEMETRY": "1",
            **self.environment(place),
        }

    def user_files(self, network: Network) -> list[Path]:
        """Give the files that a user writes."""
        settings = self.settings(network)
        return [HERE / self.name / name.format(**settings) for name in self.files]


# --- how each is started ----------------------------------------------------------


def _modelport(place: Place, python: Path) -> Command:
    """Serve a repository of one model, as `modelport serve` does for anybody."""
    folder = place.folder / "repository" / encodings.MODEL
    (folder / "1").mkdir(parents=True)
    shutil.copy(place.model, folder / "1" / "model.onnx")
    config = string.Template((HERE / "modelport" / "config.pbtxt").read_text(encoding="utf-8"))
    (folder / "config.pbtxt").write_text(config.substitute(place.settings), encoding="utf-8")
    http, grpc, metrics = map(str, place.ports[:3])
    options = ["--http-port", http, "--grpc-port", grpc, "--metrics-port", metrics]
    return [python, "-m", "modelport.cli", "serve", "--repository", folder.parent, *options]


def _fastapi(place: Place, python: Path) -> Command:
    options = ["--app-dir", HERE / "fastapi", "--host", "127.0.0.1", "--port", str(place.ports[0])]
    options += ["--workers", str(place.settings["workers"]), "--no-access-log"]
    return [
        python,
        "-m",
        "uvicorn",
        f"{place.settings['app']}:app",
        *options,
        "--loop",
        "uvloop",
        "--http",
        "httptools",
    ]


def _litserve(_: Place, python: Path) -> Command:
    return [python, HERE / "litserve" / "server.py"]


def _bentoml(place: Place, python: Path) -> Command:
    service = place.settings["service"]
    shutil.copy(HERE / "bentoml" / f"{service}.py", place.folder)
    options = ["--host", "127.0.0.1", "--port", str(place.ports[0])]
    return [python, "-m", "bentoml", "serve", f"{service}:Model", *options]


def _bentoml_variables(place: Place) -> Mapping[str, str]:
    # No request leaves the machine, and nothing is written outside the run's folder.
    return {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(place.folder / "home")}


def _mlserver(place: Place, python: Path) -> Command:
    import json

    shutil.copy(HERE / "mlserver" / "runtime.py", place.folder)
    settings = {"name": encodings.MODEL, "implementation": "runtime.Model"}
    batching = {key: place.settings[key] for key in ("max_batch_size", "max_batch_time")}
    text = json.dumps({**settings, **batching})
    (place.folder / "model-settings.json").write_text(text, encoding="utf-8")
    return [python.with_name("mlserver"), "start", place.folder]


def _mlserver_variables(place: Place) -> Mapping[str, str]:
    settings = {
        "HOST": "127.0.0.1",
        "HTTP_PORT": place.ports[0],
        "GRPC_PORT": place.ports[1],
        "METRICS_PORT": place.ports[2],
        "METRICS_DIR": place.folder,
        "ENVIRONMENTS_DIR": place.folder,
        "PARALLEL_WORKERS": place.settings["parallel_workers"],
        "DEBUG": "false",
    }
    return {f"MLSERVER_{key}": str(value) for key, value in settings.items()}


def _kserve(place: Place, python: Path) -> Command:
    ports = ["--http_port", str(place.ports[0]), "--grpc_port", str(place.ports[1])]
    options: list[str | Path] = ["--workers", str(place.settings["workers"])]
    options += ["--enable_latency_logging", "false"]
    options += ["--log_config_file", HERE / "kserve" / "logging.json"]
    return [python, HERE / "kserve" / "start.py", *ports, *options]


def _rayserve(_: Place, python: Path) -> Command:
    # Its own services and HAProxy's statistics listen on every address.
    return private.started([python, HERE / "rayserve" / "start.py"])


def _rayserve_variables(place: Place) -> Mapping[str, str]:
    return {"RAY_FOLDER": str(place.folder), "RAY_USAGE_STATS_ENABLED": "0"}


CONTESTANTS: Mapping[str, Contestant] = {
    one.name: one
    for one in (
        Contestant(
            "modelport",
            "Modelport",
            encodings.v2_binary(),
            _modelport,
            ("config.pbtxt",),
            grpc_port=1,
            own=False,
        ),
        Contestant("fastapi", "FastAPI", encodings.raw("/predict"), _fastapi, ("{app}.py",)),
        Contestant("litserve", "LitServe", encodings.raw("/predict"), _litserve, ("server.py",)),
        Contestant(
            "bentoml",
            "BentoML",
            encodings.raw("/predict"),
            _bentoml,
            ("{service}.py",),
            batched=encodings.json_arrays("/predict"),
            environment=_bentoml_variables,
        ),
        Contestant(
            "mlserver",
            "MLServer",
            encodings.v2_json(),
            _mlserver,
            ("runtime.py",),
            grpc_port=1,
            environment=_mlserver_variables,
        ),
        Contestant("kserve", "KServe", encodings.v2_binary(), _kserve, ("serve.py",), grpc_port=1),
        Contestant(
            "rayserve",
            "Ray Serve",
            encodings.raw("/"),
            _rayserve,
            ("{app}.py",),
            environment=_rayserve_variables,
            private=True,
            # Its HAProxy is started anew while replicas report, and closes connections then.
            settle_s=5.0,
        ),
    )
}
OWN = CONTESTANTS["modelport"]
PEERS = {name: one for name, one in CONTESTANTS.items() if one is not OWN}
