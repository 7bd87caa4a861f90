"""Recipes as TOML text; the standard library only reads it."""

import json
from collections.abc import Mapping
from typing import Any


def dump(tree: Mapping[str, Any]) -> str:
    """Nested dicts as TOML: plain values first, then one table for each dict."""
    plain = [f"{name} = {value(cell)}" for name, cell in tree.items() if not isinstance(cell, Mapping)]
    tables = [
        "\n".join([f"\n[{name}]", *(f"{key} = {value(cell)}" for key, cell in table.items())])
        for name, table in tree.items()
        if isinstance(table, Mapping)
    ]
    return "\n".join([*plain, *tables]) + "\n"


def value(cell: Any) -> str:
    """JSON writes numbers, texts, booleans and lists as TOML does; inline tables differ."""
    if isinstance(cell, Mapping):
        return "{" + ", ".join(f"{key} = {value(inner)}" for key, inner in cell.items()) + "}"
    if isinstance(cell, list | tuple):
        return "[" + ", ".join(map(value, cell)) + "]"
    return json.dumps(cell)
