"""The OpenAPI document, made from the table of routes and the classes of their bodies and answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mlsdk.server.accounts import Role
from mlsdk.server.calls import ANYONE, Param, Row
from mlsdk.version import VERSION

_TYPES: dict[type, dict[str, Any]] = {
    int: {"type": "integer", "format": "int64"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
}

_PATTERNS = {
    "w": "^[a-z0-9][a-z0-9-]{0,62}$",
    "run": "^[0-9a-f]{32}$",
    "digest": "^[0-9a-f]{64}$",
}

_ERRORS = {
    "400": "a mistake in the request",
    "401": "no valid token",
    "403": "the role does not allow it",
    "404": "not there, or not visible",
    "409": "an append that does not continue its log",
    "413": "too large",
    "415": "another Content-Type or Content-Encoding than this route takes",
    "426": "a client and a server whose versions do not go together",
    "429": "too many requests; Retry-After says when to come again",
    "503": "not at present; Retry-After says when to come again",
}

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string", "description": "a class of mlsdk.errors"},
                "message": {"type": "string"},
                "request": {"type": "string"},
            },
        }
    },
}


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """The document for some routes.

    >>> from mlsdk.server.routes import ROWS
    >>> document(ROWS)["openapi"]
    '3.1.0'
    """
    import msgspec

    classes = [kind for row in rows for kind in (row.body, row.answer) if isinstance(kind, type) and kind not in _PLAIN]
    unique = list(dict.fromkeys(classes))
    refs, schemas = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
    by_class = dict(zip(unique, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        path = re.sub(r"\{(\w+):path\}", r"{\1}", row.path)
        paths.setdefault(path, {})[row.method.lower()] = _operation(row, path, by_class)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mlsdk", "version": VERSION, "description": "Runs, logs and blobs of a team"},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_PLAIN = (bytes, dict)


def _operation(row: Row, path: str, by_class: dict[Any, Any]) -> dict[str, Any]:
    needs = f"role: {row.needs.name.lower()}" if isinstance(row.needs, Role) else str(row.needs)
    named = re.sub(r"\W+", "_", f"{row.method.lower()} {path}").strip("_")
    operation: dict[str, Any] = {
        "operationId": named,
        "summary": row.summary,
        "description": f"Needs {needs}." if isinstance(row.needs, Role) else f"For {needs}.",
        "parameters": [*(_in_path(name) for name in re.findall(r"\{(\w+)\}", path)), *map(_in_query, row.params)],
        "responses": {**_success(row, by_class), **_failures()},
    }
    if row.needs == ANYONE:
        operation["security"] = []
    if row.body is bytes:
        content = {row.body_type: {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    elif row.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": by_class[row.body]}}}
    return operation


def _success(row: Row, by_class: dict[Any, Any]) -> dict[str, Any]:
    if row.answer is None:
        return {"204": {"description": "done"}}
    schema: Any = by_class.get(row.answer, {"type": "object"})
    if row.answer is bytes:
        schema = {"type": "string", "format": "binary"}
    found = {"description": row.summary, "content": {row.answer_type: {"schema": schema}}}
    return {"200": found, **{status: {**found, "description": meaning} for status, meaning in row.also.items()}}


def _failures() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": meaning, "content": content} for status, meaning in _ERRORS.items()}


def _in_path(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if name in _PATTERNS:
        schema["pattern"] = _PATTERNS[name]
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(param: Param) -> dict[str, Any]:
    schema = dict(_TYPES[param.type])
    if param.type is int:
        schema["minimum"] = param.least
    if param.default is not None:
        schema["default"] = param.default
    return {"name": param.name, "in": "query", "description": param.meaning, "required": False, "schema": schema}
