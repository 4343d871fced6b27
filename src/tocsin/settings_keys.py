"""The settings' keys in words: type, default, bounds, unit and help of each, for `config schema` and for messages."""

import difflib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

WORDS = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret",
    Any: "anything",
}


@dataclass(frozen=True)
class Key:
    """One key: its dotted name (`[]` is an entry of a list), what it takes, what it is when unset, what it is for."""

    name: str
    type: str
    default: Any
    bounds: str
    unit: str
    help: str
    secret: bool


def describe(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Yield every key of a model and of the sections in it, in the order of their declaration."""
    for name, field in model.model_fields.items():
        section, entries = _section(field.annotation)
        if section is None or entries:
            yield _key(prefix + name, field)
        if section is not None:
            yield from describe(section, f"{prefix}{name}{'[]' if entries else ''}.")


def nearest(model: type[BaseModel], location: tuple[str | int, ...]) -> str | None:
    """Return the valid key most like an unknown one at this place, dotted, or None when none is like it.

    Keys of the same section come first, then those of the same name elsewhere.
    """
    *path, last = location
    section: type[BaseModel] | None = model
    for part in path:
        section = section if isinstance(part, int) or section is None else _section_at(section, part)
    prefix = "".join(f"{part}." for part in path)
    beside = difflib.get_close_matches(str(last), section.model_fields if section else (), n=1, cutoff=0.6)
    if beside:
        return prefix + beside[0]
    names = {key.name.rpartition(".")[2]: key.name for key in reversed(list(describe(model)))}
    names |= {name: name for name in model.model_fields}
    elsewhere = difflib.get_close_matches(str(last), names, n=1, cutoff=0.7)
    return names[elsewhere[0]] if elsewhere else None


def is_secret(model: type[BaseModel], location: tuple[str | int, ...]) -> bool:
    """Say whether the value at this place must never be printed."""
    name = ".".join("[]" if isinstance(part, int) else part for part in location).replace(".[]", "[]")
    return any(key.secret for key in describe(model) if key.name == name)


def _key(name: str, field: FieldInfo) -> Key:
    extra = field.json_schema_extra
    return Key(
        name=name,
        type=_word(field.annotation),
        default=None if field.is_required() else field.get_default(call_default_factory=True),
        bounds=_bounds(field),
        unit=str(extra.get("unit", "")) if isinstance(extra, dict) else "",
        help=field.description or "",
        secret=SecretStr in get_args(field.annotation) or field.annotation is SecretStr,
    )


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the section that an annotation holds, if any, and whether it holds a list of them."""
    if get_origin(annotation) is list:
        return _section(get_args(annotation)[0])[0], True
    return (annotation, False) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else (None, False)


def _section_at(section: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = section.model_fields.get(name)
    return _section(field.annotation)[0] if field else None


def _word(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _word(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if part is type(None) else _word(part) for part in arguments)
    if origin is list:
        return f"list of {'sections' if _section(arguments[0])[0] else _word(arguments[0])}"
    if origin is dict:
        return f"map of {_word(arguments[1])}"
    return WORDS.get(annotation) or str(getattr(annotation, "word", getattr(annotation, "__name__", annotation)))


def _bounds(field: FieldInfo) -> str:
    limits = {
        name: value
        for part in field.metadata
        for name in ("ge", "gt", "le", "lt", "pattern")
        if (value := getattr(part, name, None)) is not None
    }
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "pattern": "matches"}
    return ", ".join(f"{signs[name]} {limits[name]}" for name in signs if name in limits)
