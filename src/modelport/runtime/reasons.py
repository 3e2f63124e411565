"""Why models do not load: Triton's words, the likely cause, and what to do next."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """A model that did not load.

    Attributes:
        reason: Triton's own words, or what was seen of its processes.
        cause: the likely cause, where the reason is a known one.
        next_step: what to try.
    """

    model: str
    version: str | None
    reason: str
    cause: str | None = None
    next_step: str | None = None

    def __str__(self) -> str:
        version = f" version {self.version}" if self.version else ""
        lines = [f"{self.model}{version}: {self.reason}"]
        if self.cause:
            lines.append(f"  likely cause: {self.cause}")
        if self.next_step:
            lines.append(f"  next: {self.next_step}")
        return "\n".join(lines)


HUNG = (
    "its Python code waits for something at import or in initialize, or model.py is missing",
    "look at the log; a slow model needs a longer --load-timeout",
)
# Pattern in the reason -> likely cause, next step. The first match counts.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"unable to find backend library|failed to load .* backend|backend library for backend",
        "this tritonserver does not bring the backend that config.pbtxt names",
        "modelport toolchain shows the backends; or convert the model to ONNX",
    ),
    (
        r"at least one version must be available|no version is available",
        "the model folder has no version folder, or version_policy names none that is there",
        "build or import the model: modelport build {model}",
    ),
    (
        r"Stub process .* is not healthy",
        "its Python code ended the process (os._exit, or a crash in a native library)",
        "look at the log for its last words",
    ),
    (r"deadline exceeded", *HUNG),
    (
        r"unexpected directory name",
        "`name` in config.pbtxt differs from the name of its folder",
        "rename one of them, or leave `name` out",
    ),
    (
        r"not available or ambiguous|mapping to non-existing|ensemble",
        "the ensemble_scheduling of config.pbtxt does not fit its parts",
        "modelport doctor",
    ),
    (
        r"numpy",
        "the server's Python environment holds a numpy that the stub misreads",
        "modelport toolchain",
    ),
    (
        r"No module named '(?P<module>[\w.]+)'",
        "model.py imports a package that the server's own environment does not have",
        "use numpy, Pillow or onnxruntime there, or give the model an EXECUTION_ENV_PATH",
    ),
    (
        r"InvalidProtobuf|Protobuf parsing failed|INVALID_PROTOBUF",
        "the ONNX file is truncated or no ONNX file",
        "modelport doctor names the file that differs from its manifest",
    ),
    (
        r"NoSuchFile|NO_SUCHFILE|doesn't exist|does not exist|no such file|unable to find",
        "a file of the version folder is missing",
        "modelport doctor",
    ),
    (
        r"failed to poll from model repository|Poll failed|expects? model name|must specify",
        "config.pbtxt does not fit Triton or the model",
        "modelport doctor",
    ),
    (
        r"depends on .* which has no loaded version|no loaded version",
        "a part of the ensemble is missing from the repository or did not load",
        "load the part on its own: modelport serve --models <part>",
    ),
    (
        r"unexpected (inference )?(input|output)|tensor '.*': the model expects|datatype|data-type",
        "config.pbtxt names tensors or types that the model file does not have",
        "modelport doctor; or import the model anew: modelport import",
    ),
    (
        r"SyntaxError|ImportError|AttributeError|TypeError|NameError|Error:",
        "the model's own Python code raised it",
        "mend the model's model.py",
    ),
)

# A ModelportError raised inside a stub explains itself.
_OWN_WORDS = re.compile(r"\nlikely cause: (?P<cause>.*)\nnext: (?P<next>.*)")

DEAD = (
    "its Python code ended the process (os._exit, a crash in a native library), or a shared "
    "library or model.py is missing",
    "modelport doctor; then look at the log",
)


def explain(model: str, version: str | None, reason: str) -> Failure:
    """Add the likely cause and the next step to Triton's reason."""
    text = shorten(reason, model)
    if own := _OWN_WORDS.search(text):
        return Failure(model, version, text[: own.start()], own["cause"], own["next"])
    for pattern, cause, next_step in _KNOWN:
        if re.search(pattern, reason, flags=re.IGNORECASE):
            return Failure(model, version, text, cause, next_step.format(model=model))
    return Failure(model, version, text)


def shorten(reason: str, model: str) -> str:
    """Drop what Triton puts around its reason: it repeats the model's name up to three times."""
    text = reason.strip()
    text = re.sub(rf"^load failed for model '{re.escape(model)}': ", "", text)
    text = re.sub(rf"^failed to load '{re.escape(model)}', ", "", text)
    text = re.sub(r"^version \d+ is at UNAVAILABLE state: ", "", text)
    # Of a Python traceback, the lines of the import machinery say nothing.
    lines = [line for line in text.splitlines() if line.strip(" ;") and "<frozen " not in line]
    return "\n".join(lines).rstrip("; ")
