"""Dataclasses as plain JSON values and back, by their annotations."""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from tocsin.records.times import from_us, to_us

_TIME = "$us"

Revive = Callable[[Any], Any]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: times as {"$us": microseconds since 1970}, dataclasses as dicts.

    Other dicts' keys that begin with $ get a second one. Raises TypeError for what is none of JSON's, a time or a
    dataclass.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, dict):
        return {f"${key}" if str(key).startswith("$") else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return {_TIME: to_us(value.astimezone(UTC))}
    if isinstance(value, np.generic):
        return plain(value.item())
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    raise TypeError(f"a {type(value).__name__} cannot pass between processes: {value!r}")


def revive(kind: Any, value: Any) -> Any:
    """Return what `plain` made of a value of this type; `Any` gives lists for tuples.

    Raises TypeError, ValueError or KeyError when the value is of another shape.
    """
    return _reviver(kind)(value)


@cache
def _reviver(kind: Any) -> Revive:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(*[_reviver(each) for each in inner if each is not type(None)])
    if origin is tuple:
        return _sequence(tuple, _reviver(inner[0])) if inner[-1] is Ellipsis else _product(inner)
    if origin is list:
        return _sequence(list, _reviver(inner[0]))
    if origin is dict:
        return _mapping(*inner)
    if is_dataclass(kind):
        return _record(kind)
    return kind if kind in (int, float, str, bool) else _anything


def _anything(value: Any) -> Any:
    if isinstance(value, list):
        return [_anything(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TIME}:
        return from_us(value[_TIME])
    return {_unescaped(key): _anything(item) for key, item in value.items()}


def _unescaped(key: str) -> str:
    return key[1:] if key.startswith("$") else key


def _optional(inner: Revive, *rest: Revive) -> Revive:
    if rest:
        return _anything
    return lambda value: None if value is None else inner(value)


def _sequence(make: Callable[[Any], Any], inner: Revive) -> Revive:
    return lambda value: make(inner(item) for item in _of(list, value))


def _product(inner: tuple[Any, ...]) -> Revive:
    parts = [_reviver(each) for each in inner]
    return lambda value: tuple(part(item) for part, item in zip(parts, _of(list, value), strict=True))


def _mapping(key: Any, inner: Any) -> Revive:
    make = _reviver(inner)
    return lambda value: {key(_unescaped(name)): make(item) for name, item in _of(dict, value).items()}


def _record(kind: Any) -> Revive:
    hints = get_type_hints(kind)
    parts: dict[str, Revive] = {}

    def make(value: Any) -> Any:
        for each in () if parts else fields(kind):  # made when first used: a dataclass may hold its own kind
            parts[each.name] = _reviver(hints[each.name])
        return kind(**{name: parts[name](item) for name, item in _of(dict, value).items()})

    return make


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}, not {value!r:.80}")
    return value
