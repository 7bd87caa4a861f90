"""Recipes as TOML text; the standard library only reads it."""

import json
from collections.abc import Mapping
from typing import Any


def dump(tree: Mapping[str, Any]) -> str:
    """Nested dicts as TOML: plain values first, then one table for each dict."""
    plain = [f"{key} = {_value(value)}" for key, value in tree.items() if not isinstance(value, Mapping)]
    tables = [
        "\n".join([f"\n[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())])
        for name, table in tree.items()
        if isinstance(table, Mapping)
    ]
    return "\n".join([*plain, *tables]) + "\n"


def _value(value: Any) -> str:
    """JSON writes numbers, texts, booleans and lists as TOML does; inline tables differ."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
