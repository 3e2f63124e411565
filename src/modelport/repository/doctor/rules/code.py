"""Rules about Python models (5xx) and about manifests (6xx)."""

from __future__ import annotations

from modelport.repository.doctor import calls, environment, files, python, python_api
from modelport.repository.doctor.finding import Rule
from modelport.repository.doctor.subject import Subject

_MANIFEST = "modelport.repository.manifest"
_PYTHON = "python_backend: README.md, Usage"

# fmt: off
RULES: tuple[Rule[Subject], ...] = (
    Rule("MP501", "error", "model.py does not parse",
         "the version does not load",
         "mend the line that is named",
         _PYTHON, python.syntax_error),
    Rule("MP502", "error", "model.py lacks TritonPythonModel or its execute",
         "the version does not load, or fails every request",
         "define a class `TritonPythonModel` with `execute(self, requests)`",
         _PYTHON, python.no_model_class),
    Rule("MP503", "error", "execute can return None",
         "the request is never answered and the client waits until its deadline",
         "return the list of responses on every path",
         _PYTHON, python.returns_none),
    Rule("MP504", "error", "a call to a model that is not here",
         "every request that comes to the call fails",
         "build or copy that model too, or mend the name",
         "python_backend: README.md, Business Logic Scripting", calls.unknown_callee),
    Rule("MP505", "error", "a call that asks for an output that the model lacks",
         "every request that comes to the call fails",
         "ask for an output that the model has",
         "python_backend: README.md, Business Logic Scripting", calls.unknown_called_tensor),
    Rule("MP506", "warning", "a look-up of a tensor that is not declared",
         "the look-up gives None, and what follows fails",
         "declare the tensor, or mend its name",
         "python_backend: README.md, Usage", python_api.undeclared_name),
    Rule("MP507", "warning", "code that ends its own process",
         "the model never recovers, while it and the server stay ready; at import the load hangs",
         "raise an exception instead",
         "tried: tritonserver 2.51.0", python_api.ends_process),
    Rule("MP508", "error", "auto_complete_config uses what is not there yet",
         "the load fails: tensors and requests exist in a running model only",
         "use it in `initialize` or `execute`",
         "tried: tritonserver 2.51.0", python_api.not_there_yet),
    Rule("MP509", "warning", "numpy 2 for the Python backend",
         "its stub misreads arrays of numpy 2: inputs are zeros, outputs empty, and the server "
         "says it is ready",
         "pin `numpy==1.26.4`",
         "tried: tritonserver 2.51.0", environment.newer_numpy),
    Rule("MP510", "error", "the model's Python environment is missing",
         "the version does not load",
         "copy the environment to the place that is named",
         "python_backend: README.md, Creating Custom Execution Environments",
         environment.absent_environment),
    Rule("MP601", "error", "the manifest cannot be read",
         "nothing proves that this version is right",
         "build the version again, or update Modelport",
         _MANIFEST, files.unreadable_manifest, needs_config=False),
    Rule("MP602", "error", "a file is not the one that was proven",
         "versions are immutable: what serves is not what was tested",
         "restore the file, or publish a new version",
         _MANIFEST, files.changed_file, needs_config=False),
    Rule("MP603", "error", "the manifest is that of another version",
         "the proof does not belong to these files",
         "publish through modelport instead of copying version folders",
         _MANIFEST, files.other_model, needs_config=False),
    Rule("MP604", "warning", "a version without a manifest",
         "nothing proves that this version is right, and it can serve beside ones that are proven",
         "publish it through modelport",
         _MANIFEST, files.no_manifest, needs_config=False),
    Rule("MP605", "warning", "a file that the manifest does not list",
         "it came after the proof: what serves is not what was tested",
         "remove it, or publish a version that holds it",
         _MANIFEST, files.unlisted_file, needs_config=False),
    Rule("MP606", "warning", "a model serves with parts that it was not proven with",
         "nobody has tried them together: what serves is not what was tested",
         "promote the version that shall serve, which brings its parts; or build it again",
         _MANIFEST, files.other_parts),
)
# fmt: on
