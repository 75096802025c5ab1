# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of a line, generated from the record's dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ooMtrace.record import SCHEMA, OomKill, OomLost, OomNoKill, Sigkill
from ooMtrace.record.fields import name_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCALARS = {str: "string", int: "integer", bool: "boolean"}


def json_schema() -> dict[str, Any]:
    """Return the schema of a line: the properties of all lines, and under `anyOf` those required by each event.

    Facts may be added within one version, so unknown properties are allowed.
    """
    kinds = [_object(kind) for kind in (OomKill, OomLost, OomNoKill, Sigkill)]
    events = [event for kind in kinds for event in kind["properties"]["event"]["enum"]]
    # OomNoKill has only facts that OomKill has, too; what Sigkill shares with it is described there.
    properties = {name: schema for kind in reversed(kinds[:2]) for name, schema in kind["properties"].items()}
    properties["sigkill"] = kinds[3]["properties"]["sigkill"]
    return {
        "$schema": DIALECT,
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        "title": SCHEMA,
        "type": "object",
        "properties": {**properties, "event": {**properties["event"], "enum": events}},
        "required": [name for name in kinds[0]["required"] if all(name in kind["required"] for kind in kinds)],
        "anyOf": [
            {"properties": {"event": {"enum": kind["properties"]["event"]["enum"]}}, "required": kind["required"]}
            for kind in kinds
        ],
    }


def _object(record: type) -> dict[str, Any]:
    hints = get_type_hints(record)
    properties, required = {}, []
    for fact in fields(record):
        properties[name_of(fact)] = {**_type(hints[fact.name]), "description": fact.metadata["doc"]}
        if fact.default is not None and not fact.metadata.get("can_be_empty"):
            required.append(name_of(fact))
    return {"type": "object", "properties": properties, "required": required}


def _type(hint: Any) -> dict[str, Any]:  # noqa: ANN401 (any annotation of a record)
    if get_origin(hint) in (Union, UnionType):
        return _type(next(member for member in get_args(hint) if member is not type(None)))
    if get_origin(hint) is Literal:
        return {"type": "string", "enum": list(get_args(hint))}
    if get_origin(hint) is Mapping:
        return {"type": "object", "additionalProperties": _type(get_args(hint)[1])}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _type(get_args(hint)[0])}
    return _object(hint) if isinstance(hint, type) and is_dataclass(hint) else {"type": SCALARS[hint]}
