"""Small Python models for measurements that are about something else than the model."""

from __future__ import annotations

from pathlib import Path

VECTORS = """
backend: "python"
max_batch_size: 0
input {{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ -1 ] }}
instance_group {{ count: {instances} kind: KIND_CPU }}
"""


def write(repository: Path, name: str, code: str, config: str = "", *, instances: int = 1) -> Path:
    """Write a model into a repository.

    Args:
        repository: where; gives it back.
        name: of the model.
        code: of its ``model.py``.
        config: its ``config.pbtxt``; by default it takes and gives vectors of float32, x and y.
        instances: how many processes run it, where ``config`` does not say.
    """
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(code)
    text = config or VECTORS.format(instances=instances)
    (version.parent / "config.pbtxt").write_text(text)
    return repository
