"""The JSON Schema of ``manifest.json``, for programs that are not Modelport."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from modelport.repository.manifest import Manifest


class _Schema(GenerateJsonSchema):
    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        """Allow the words that stand for figures which JSON has no number for."""
        number = super().float_schema(schema)
        return {"anyOf": [number, {"enum": ["NaN", "Infinity", "-Infinity"]}]}


def schema() -> dict[str, Any]:
    """Give the schema, in the dialect of 2020-12."""
    found = Manifest.model_json_schema(schema_generator=_Schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **found}
