"""What lies beside the versions of a model and decides how one of them runs.

A version holds its own ``config.pbtxt`` and label files, which its manifest lists. Triton reads
those beside the version folders, so a proof or a signature means something only while the two
agree. They may differ in ``version_policy`` alone, which promotion writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelport.errors import ConfigError
from modelport.repository import digests, pbtxt
from modelport.repository.layout import CONFIG, ModelFolder
from modelport.repository.manifest import Manifest

_POLICY = "version_policy"


def differences(folder: ModelFolder, manifest: Manifest) -> dict[str, str]:
    """Compare what Triton reads beside a version with the version's own; path to what is wrong.

    Args:
        folder: the model.
        manifest: of one version, whose files are as it says.
    """
    version_dir = folder.version_dir(manifest.version)
    own = {entry.path: entry.sha256 for entry in manifest.files}
    wrong = {path.name: "the version holds no such library" for path in _libraries(folder, own)}
    if CONFIG not in own:
        return {**wrong, CONFIG: "the version was published without its configuration"}
    try:
        proven, live = pbtxt.plain(version_dir / CONFIG), pbtxt.plain(folder.config_path)
    except ConfigError as error:
        return {**wrong, CONFIG: str(error.objects.get("reason") or error.what)}
    names = (proven.keys() | live.keys()) - {_POLICY}
    if fields := {name for name in names if proven.get(name) != live.get(name)}:
        named = ", ".join(sorted(fields))
        wrong[CONFIG] = f"{named} {'is' if len(fields) == 1 else 'are'} not as published"
    for path in sorted(_referred(live)):
        file = folder.path / path
        if file.is_file() and (path not in own or digests.of_file(file) != own[path]):
            wrong[path] = "differs from the version's own" if path in own else "in no version"
    return wrong


def _libraries(folder: ModelFolder, own: dict[str, str]) -> Iterator[Path]:
    """Find backends in the model's folder, which Triton takes before the server's own.

    Source: core, src/backend_model.cc, TritonModel::ResolveBackendPaths.
    """
    for path in folder.path.glob("*.so*"):
        if own.get(path.name) != digests.of_path(path):
            yield path


def _referred(config: dict[str, Any]) -> set[str]:
    """Name the files beside the versions that a configuration speaks of."""
    found = {output.get("label_filename", "") for output in config.get("output", ())}
    found.add(config.get("runtime", ""))
    for warmup in config.get("model_warmup", ()):
        inputs = warmup.get("inputs", {}).values()
        found |= {f"warmup/{i['input_data_file']}" for i in inputs if "input_data_file" in i}
    for state in config.get("sequence_batching", {}).get("state", ()):
        initial = state.get("initial_state", ())
        found |= {f"initial_state/{i['data_file']}" for i in initial if "data_file" in i}
    return found - {""}
