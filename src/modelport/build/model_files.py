"""The files that a model's version is made of, found on disk."""

from __future__ import annotations

from pathlib import Path

from modelport.build.loader import Builder
from modelport.errors import BuilderError, IntegrityError
from modelport.repository import onnx_graph
from modelport.repository.layout import Repository
from modelport.spec.model import Model, OnnxModel

# What a Python model's code is called, where it is written and in its versions.
CODE = "model.py"


def onnx_files(builder: Builder, model: OnnxModel) -> dict[str, Path]:
    """Find the files of an ONNX model, by the names that they get in the version folder.

    External data keeps its name, by which the ONNX file refers to it.

    Raises:
        IntegrityError: the file, or one that holds its weights, is missing or damaged.
    """
    file = builder.path.parent / model.file
    graph = onnx_graph.read(file)
    external = {entry.location: file.parent / entry.location for entry in graph.external_files}
    for name, path in external.items():
        if not path.is_file():
            raise IntegrityError(
                f"{path}: missing, and {file} keeps weights in it",
                cause="an ONNX file with external data was copied without it",
                next_step=f"put {name} beside {file.name}",
                path=path,
            )
    return {"model.onnx": file, **external}


def source_file(builder: Builder, model: Model, repository: Repository) -> Path:
    """Find the ``model.py`` of a Python model: beside its config.pbtxt; versions hold copies.

    Raises:
        BuilderError: there is none.
    """
    path = repository.folder(model.name).path / CODE
    if path.is_file():
        return path
    raise BuilderError(
        f"{path}: there is no such file; {builder.path} declares {model.name!r} as PythonModel",
        cause="a Python model's code lies in the model repository, beside its config",
        next_step=f"write {path}: a class TritonPythonModel that answers as the reference does,"
        " or copy it from the repository that has the model",
        path=path,
        model=model.name,
    )
