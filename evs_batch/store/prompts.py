"""Where the prompt of a video comes from, when a manifest is made."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from evs_batch.spec.errors import ManifestError, nearest
from evs_batch.store import storage

SIDECAR = ".txt"
_FIELD = re.compile(r"\{([^{}]*)\}")
_SEPARATORS = re.compile(r"[\s_-]+")
_SAMPLE = re.compile(r"(?P<prompt>.+)-\d+")  # as VBench names videos: the prompt, and which sample of it
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')  # in the names of files, on some system

Cells = Mapping[str, Any]
Find = Callable[[str, Cells], str | None]  # absolute URI and cells of a row -> its prompt, None if it has none


def template(text: str) -> Find:
    """A text with `{stem}`, `{words}` (the stem as words), `{folder}` or columns; others raise ManifestError."""

    def find(uri: str, cells: Cells) -> str:
        path = PurePosixPath(uri)
        known = {
            **cells,
            "stem": path.stem,
            "words": _SEPARATORS.sub(" ", path.stem).strip(),
            "folder": path.parent.name,
        }

        def value(field: re.Match[str]) -> str:
            if field[1] not in known:
                raise ManifestError(f"--prompt {text}", f"{field[0]} is no column", nearest(field[1], known))
            return "" if known[field[1]] is None else str(known[field[1]])

        return _FIELD.sub(value, text)

    return find


def sidecar(uri: str, cells: Cells) -> str | None:
    """The text file beside a video: `a.txt` for `a.mp4`."""
    data = _bytes(str(uri).rpartition(".")[0] + SIDECAR)
    return None if data is None else data.decode("utf-8-sig", "replace").strip()


def of_list(uri: str) -> Find:
    """Prompts from a list, for videos that are named after them, as `a red star.mp4` or VBench's `a red star-0.mp4`.

    A text file with a prompt in each line, or JSON: a list of texts, or of objects with `prompt_en` or `prompt`. Raises
    ManifestError.
    """
    prompts = {_name(prompt): prompt for prompt in _read_list(uri)}

    def find(uri: str, cells: Cells) -> str | None:
        stem = PurePosixPath(uri).stem
        sample = _SAMPLE.fullmatch(stem)
        return prompts.get(_name(stem)) or (prompts.get(_name(sample["prompt"])) if sample else None)

    return find


def _bytes(uri: str) -> bytes | None:
    try:
        return storage.read_bytes(uri)
    except OSError as error:
        raise ManifestError(uri, f"cannot be read ({error})", "check your rights") from error


def _name(prompt: str) -> str:
    """What is left of a prompt in the name of a file."""
    return " ".join(_FORBIDDEN.sub("", prompt).split()).rstrip(".").casefold()


def _read_list(uri: str) -> list[str]:
    data = _bytes(storage.absolute(uri))
    if data is None:
        raise ManifestError(f"--prompts {uri}", "does not exist", "check the path")
    text = data.decode("utf-8-sig", "replace")
    if not uri.endswith(".json"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        entries = json.loads(text)
        prompts = [entry if isinstance(entry, str) else entry.get("prompt_en") or entry["prompt"] for entry in entries]
        wrong = next((prompt for prompt in prompts if not isinstance(prompt, str)), "")
        if wrong != "":
            raise TypeError(f"{wrong!r} is no text")
        return prompts
    except (ValueError, RecursionError, TypeError, AttributeError, KeyError) as error:
        raise ManifestError(
            f"--prompts {uri}", f"is no list of prompts ({error!r})", "see VBench_full_info.json"
        ) from error
