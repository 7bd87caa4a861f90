"""Every key of a recipe, as a table for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from evs_batch.spec import toml
from evs_batch.spec.recipe import Recipe

_LIMITS = {"minimum": "{} or more", "exclusiveMinimum": "above {}", "maximum": "at most {}", "maxItems": "at most {}"}


def markdown() -> str:
    """A table of all keys, with default, range, meaning and source."""
    rows = [
        f"| `{name}` | `{default}` | {values} | {meaning} | {source} |"
        for name, default, values, meaning, source in rows_of()
    ]
    return "\n".join(["| key | default | values | meaning | source |", "|---|---|---|---|---|", *rows]) + "\n"


def rows_of() -> Iterator[tuple[str, str, str, str, str]]:
    """Name, default, values, meaning and source of each key; what lacks one of them raises KeyError."""
    schema = Recipe.model_json_schema()
    defaults: dict[str, Any] = Recipe().model_dump(mode="json")
    for name, entry in schema["properties"].items():
        if not isinstance(defaults[name], dict):
            yield (name, *_row(entry, defaults[name]))
            continue
        table = schema["$defs"][entry["$ref"].rpartition("/")[2]]
        for key, of_key in table["properties"].items():
            yield (f"{name}.{key}", *_row(of_key, defaults[name][key]))


def _row(entry: Mapping[str, Any], default: Any) -> tuple[str, str, str, str]:
    return toml.value(default), _values(entry), entry["description"], entry["source"]


def _values(entry: Mapping[str, Any]) -> str:
    if "anyOf" in entry:
        return " or ".join(_values(choice) for choice in entry["anyOf"])
    if "enum" in entry:
        return ", ".join(f"`{choice}`" for choice in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    limits = [text.format(f"{entry[limit]:g}") for limit, text in _LIMITS.items() if limit in entry]
    kind: str = entry["type"]
    return ", ".join(["list" if kind == "array" else kind, *limits])
