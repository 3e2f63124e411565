"""Rules about the repository as a whole, and the options of its server (7xx)."""

from __future__ import annotations

from modelport.repository.doctor import site
from modelport.repository.doctor.finding import Rule
from modelport.repository.doctor.subject import Site

# fmt: off
RULES: tuple[Rule[Site], ...] = (
    Rule("MP111", "warning", "a folder that is no model",
         "Triton takes every folder for a model: started without explicit control it refuses to "
         "start",
         "move it out of the repository",
         "tried: tritonserver 2.51.0", site.no_model_folder),
    Rule("MP701", "error", "the control API is open",
         "whoever reaches it loads a model.py of their own, which is running code on the server",
         "listen on 127.0.0.1, or restrict `model-repository` by a key",
         "server: docs/customization_guide/deploy.md", site.open_control),
    Rule("MP702", "warning", "the server polls the repository",
         "it sees copies that are half done and reloads at moments of its own; the load API is off",
         "use `--model-control-mode=explicit`",
         "server: issue 7489 (reload storms), 2147 (partial copies)", site.polls),
    Rule("MP703", "warning", "polling loads a Python version twice",
         "writing the bytecode changes the folder, which looks like a new version",
         "compile the code before it is moved in",
         "tried: tritonserver 2.51.0", site.loads_twice),
    Rule("MP704", "error", "an option that tritonserver does not know",
         "it prints its usage and ends",
         "see `tritonserver --help`",
         "tried: tritonserver 2.51.0", site.unknown_option),
    Rule("MP705", "warning", "a deprecated option",
         "a newer server may refuse it",
         "use its successor",
         "tried: tritonserver 2.51.0", site.deprecated_option),
    Rule("MP706", "error", "options that exclude each other",
         "tritonserver prints its usage and ends",
         "remove one of them",
         "tried: tritonserver 2.51.0", site.options_that_exclude_each_other),
    Rule("MP707", "warning", "the response cache has no memory",
         "the model's response_cache has no effect",
         "add `--cache-config=local,size=BYTES`",
         "server: docs/user_guide/response_cache.md", site.cache_without_memory),
    Rule("MP708", "error", "auto-completion is off, and something is missing",
         "the model does not load",
         "state it in config.pbtxt",
         "tried: tritonserver 2.51.0", site.incomplete_without_completion),
    Rule("MP709", "warning", "ready whatever became of the models",
         "load balancers send requests to a server that cannot answer them",
         "remove `--strict-readiness=false`",
         "tried: tritonserver 2.51.0", site.ready_without_models),
)
# fmt: on
