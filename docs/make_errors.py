"""Writes docs/errors.md from the code: python docs/make_errors.py"""

import ast
import inspect
from collections import defaultdict
from pathlib import Path

from evs_batch.spec import errors
from evs_batch.spec.failures import FAILURES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
KINDS = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.EvsError)
}
INTRODUCTION = """# Errors

Every error says what the value is, which rule it breaks and how to mend it:

    error (recipe): t2v.overlap=16: must be below t2v.window=16; lower it

The word in brackets is its code, a heading below. In an output manifest `error_type` is the class, and `error_message`
the whole sentence. Unknown keys, names and commands come with the nearest known one. This page is made from the code by
`python docs/make_errors.py`; … stands for what differs.
"""


def page() -> str:
    """The whole page, as Markdown."""
    found = _raised()
    parts = [INTRODUCTION, "## Types of failed rows\n", _failures()]
    for name, kind in sorted(KINDS.items(), key=lambda item: item[1].code):
        if rows := sorted(set(found[name])):
            parts += [
                f"## {kind.code}\n",
                f"`{name}`. {inspect.getdoc(KINDS[name])}\n",
                _table(("value", "rule", "fix"), rows),
            ]
    return "\n".join(parts)


def _failures() -> str:
    rows = [(f"`{name}`", meaning, fix) for name, (meaning, fix) in FAILURES.items()]
    return _table(("`error_type`", "what happened", "what to do"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _raised() -> dict[str, list[tuple[str, str, str]]]:
    """Value, rule and fix of every error in the code, by its class."""
    found = defaultdict(list)
    for file in sorted((ROOT / "evs_batch").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[value, rule, fix]) if name in KINDS:
                    found[name].append(tuple(" ".join(_text(part).split()) for part in (value, rule, fix)))
    return found


def _text(node: ast.expr) -> str:
    """A message as it is written, with … for what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) for value in values)
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return f"{_text(body)} / {_text(orelse)}"
    return "…"


if __name__ == "__main__":
    PAGE.write_text(page())
