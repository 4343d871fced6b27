"""How the OpenAPI document describes the plain novelty routes, and the result of an observation."""

from typing import Any

from tocsin.serve.incoming import ARROW, JSON, NDJSON

RESULT_REF = {"$ref": "#/components/schemas/NoveltyResult"}
_NUMBER = {"type": "number"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT = {"type": "integer", "minimum": 0}
_VALUE = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]}
_OBSERVATION = {
    "type": "array",
    "minItems": 1,
    "maxItems": 32,
    "items": _VALUE,
    "description": "Values that belong together; numbers, booleans and null are taken as text.",
    "example": ["tcp", "443", "ssl"],
}
_RECORD = {"type": "object", "description": "With ?transformation: what it makes an observation of."}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"$ref": "#/components/schemas/Problem"}},
    "description": "With ?partial=1: what is wrong with this one.",
}
_NEAREST = {
    "type": "array",
    "description": "With ?nearest: known observations that have most in common with this one.",
    "items": {
        "type": "object",
        "required": ["observation", "count", "differs"],
        "properties": {
            "observation": {"type": "array", "items": {"type": "string"}},
            "count": _NUMBER,
            "differs": {"type": "array", "items": _COUNT},
        },
    },
}
_RESULT = {
    "type": "object",
    "description": "How unusual an observation is, and why.",
    "required": [
        *("observation", "score", "totalObsScore", "sequence", "probability", "uniqueness", "infoContent"),
        *("mostNovelComponent", "components", "warm", "confidence"),
    ],
    "properties": {
        "observation": {"type": "array", "items": {"type": "string"}},
        "score": _SHARE | {"description": "0 for the certain; 0.99 about once in a hundred of the context's own."},
        "totalObsScore": _SHARE | {"description": "The same over all components together."},
        "sequence": _COUNT | {"description": "Its number within the context, from 1."},
        "probability": _SHARE | {"description": "How often this very observation was seen so far, this one included."},
        "uniqueness": _SHARE | {"description": "1 for what was seen once, 0 from ten thousand times on."},
        "infoContent": _NUMBER | {"description": "Bits: -log2(probability); null where it was never seen (read)."},
        "mostNovelComponent": {
            "type": "object",
            "required": ["index", "value", "novelty"],
            "properties": {"index": _COUNT, "value": {"type": "string"}, "novelty": _NUMBER},
        },
        "components": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["bits", "share"],
                "properties": {"bits": _NUMBER, "share": _SHARE},
            },
        },
        "warm": {"type": "boolean", "description": "Whether the context had seen enough."},
        "confidence": _SHARE,
        "nearest": _NEAREST,
    },
}
_TEXTS = {
    "observe": ("Observe one", "Learn an observation, and say how unusual it is and why."),
    "read": ("Read one", "Say how unusual an observation would be; nothing is learned."),
    "observe/bulk": ("Observe many", "Learn observations in order. All or none, unless ?partial=1."),
    "read/bulk": ("Read many", "Say how unusual observations would be; nothing is learned."),
}
_NAME = {"type": "string", "maxLength": 64, "minLength": 1, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"}


def describe_hot(document: dict[str, Any]) -> None:
    """Add observe and read to the document."""
    _schemas(document)
    for verb, (summary, text) in _TEXTS.items():
        document.setdefault("paths", {})[f"/api/v1/novelty/{{context}}/{verb}"] = {
            "post": {
                "tags": ["novelty"],
                "summary": summary,
                "description": text,
                "operationId": verb.replace("/", "_") + "_novelty",
                "parameters": _parameters(verb),
                "requestBody": {"required": True, "content": _asked(many="bulk" in verb)},
                "responses": {"200": {"description": "The result.", "content": _answered(many="bulk" in verb)}},
            }
        }


def describe_recent(document: dict[str, Any]) -> None:
    """Let the lists of novel observations refer to the one schema of a result, which pydantic does not know."""
    _schemas(document)
    document["components"]["schemas"]["Recently"]["properties"]["result"] = RESULT_REF


def _schemas(document: dict[str, Any]) -> None:
    document.setdefault("components", {}).setdefault("schemas", {})["NoveltyResult"] = _RESULT


def _parameters(verb: str) -> list[dict[str, Any]]:
    found = [
        {"name": "context", "in": "path", "required": True, "schema": _NAME},
        _query("nearest", {"type": "integer", "minimum": 1, "maximum": 20}, "So many known ones nearest to it."),
        _query("transformation", _NAME, "The body holds records (objects), of which this makes observations."),
    ]
    if "bulk" in verb:
        found.append(_query("partial", {"type": "boolean"}, "Learn the good ones, and say what is wrong with others."))
    if "observe" in verb:
        schema = {"type": "string", "maxLength": 100}
        text = "Sent again with the same body, the request counts once."
        found.append({"name": "Idempotency-Key", "in": "header", "schema": schema, "description": text})
    return found


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text}


def _asked(*, many: bool) -> dict[str, Any]:
    one = {"anyOf": [_OBSERVATION, _RECORD]}
    if not many:
        return {JSON: {"schema": one}}
    stream = {"type": "string", "format": "binary"}
    return {JSON: {"schema": {"type": "array", "items": one}}, NDJSON: {"schema": stream}, ARROW: {"schema": stream}}


def _answered(*, many: bool) -> dict[str, Any]:
    left_out = {"type": "null", "description": "The transformation's `where` leaves it out."}
    if not many:
        return {JSON: {"schema": {"anyOf": [RESULT_REF, left_out]}}}
    stream = {"type": "string", "format": "binary"}
    each = {"anyOf": [RESULT_REF, left_out, _ERROR]}
    return {JSON: {"schema": {"type": "array", "items": each}}, NDJSON: {"schema": stream}, ARROW: {"schema": stream}}
