"""Tables as people keep them (Parquet, CSV, TSV, JSON lines), read by the columns needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelport.errors import DataError

_FORMATS = ".parquet, .csv, .tsv or .jsonl (a compressed .csv.gz too)"


def read(path: Path, columns: Mapping[str, type]) -> dict[str, np.ndarray]:
    """Read some columns of a table.

    Args:
        path: a file that ends with .parquet (also .parquet.brotli), .csv, .tsv, .jsonl or
            .ndjson; text files may be compressed (.gz, .bz2, .zst).
        columns: name to ``str``, ``int`` or ``float``; other columns of the file are left out.

    Returns:
        Arrays of one length: object arrays of ``str`` (missing values are ``""``), int64, or
        float64 (missing values are NaN).

    Raises:
        DataError: the file is no such table, lacks a column, or holds other values.
    """
    try:
        table = _load(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(
            f"{path}: cannot be read as a table: {str(error).splitlines()[0]}",
            cause="it is damaged, or has another format than its name says",
            next_step=f"give a {_FORMATS} file with the columns {_listed(columns)}",
            path=path,
        ) from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path}: there is no column {_listed(missing)}; the file has"
            f" {_listed(table.column_names) or 'none'}",
            cause="the columns have other names, or the first line is not a header",
            next_step=f"rename them; expected are {_listed(columns)}",
            path=path,
            missing=missing,
        )
    return {name: _array(path, name, table[name], kind) for name, kind in columns.items()}


def _load(path: Path) -> Any:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if ".parquet" in suffixes:
        from pyarrow import parquet

        return parquet.read_table(path)
    if ".jsonl" in suffixes or ".ndjson" in suffixes:
        from pyarrow import json

        return json.read_json(path)
    if ".csv" in suffixes or ".tsv" in suffixes:
        from pyarrow import csv

        delimiter = "\t" if ".tsv" in suffixes else ","
        options = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        return csv.read_csv(path, parse_options=options)
    raise ValueError(f"expected a {_FORMATS} file")


def _array(path: Path, name: str, column: Any, kind: type) -> np.ndarray:
    values = column.to_pylist()
    try:
        if kind is str:
            texts = ["" if value is None else str(value) for value in values]
            return np.array(texts, dtype=np.object_)
        if kind is float:
            numbers = [np.nan if value is None else float(value) for value in values]
            return np.array(numbers, dtype=np.float64)
        return np.array([int(value) for value in values], dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: column {name!r} holds something that is not of type {kind.__name__}: {error}",
            next_step="mend or leave out those rows",
            path=path,
        ) from error


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
