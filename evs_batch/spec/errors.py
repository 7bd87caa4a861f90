"""All errors that users meet; docs/errors.md lists every one of them.

EvsError
 +- RecipeError     a recipe or an override is wrong          exit 2
 +- ManifestError   a manifest or one of its rows is wrong    exit 2, or a failed row
 +- OutputError     the output folder cannot be used          exit 2
 +- MediaError      a source video cannot be read             a failed row, at once
 +- EncodeError     a result cannot be written or verified    tried again, then a failed row
 +- StorageError    a storage refuses, or is out of reach      tried again, then a failed row; if all rows fail, exit 1
 +- ModelError      a model is unknown, missing or unfit      exit 2
 +- RunError        the run could not go on                   exit 1
"""

import difflib
import re
from collections.abc import Iterable

MAX_SHOWN_CHARS = 1000
_SECRETS = re.compile(  # in addresses: user:password@, and the signatures of addresses that are signed
    r"(?<=://)[^\s/@]*:[^\s/]*(?=@)|(?<=[?&])(?:x-amz-[a-z-]+|sig|signature|[a-z_-]*token|[a-z_-]*key|x-goog-[a-z-]+)=[^\s&]*",
    re.IGNORECASE,
)


class EvsError(Exception):
    """An error with the offending value, the rule that it breaks and the way out."""

    code = "evs"

    def __init__(self, value: str, rule: str, fix: str) -> None:
        super().__init__(value, rule, fix)
        self.value, self.rule, self.fix = printable(value), printable(rule), printable(fix)

    def __str__(self) -> str:
        return f"{self.value}: {self.rule}; {self.fix}"


class RecipeError(EvsError):
    """A recipe or an override is wrong: exit code 2."""

    code = "recipe"


class ManifestError(EvsError):
    """A manifest is wrong: exit code 2; or one of its rows: a failed row."""

    code = "manifest"


class OutputError(EvsError):
    """The output folder cannot be used: exit code 2."""

    code = "output"


class MediaError(EvsError):
    """A source video cannot be read: a failed row, at once."""

    code = "media"


class EncodeError(EvsError):
    """A result cannot be written or verified: tried again, then a failed row."""

    code = "encode"


class StorageError(EvsError):
    """A storage refuses or is out of reach: tried again, then a failed row; exit code 1 if all rows fail so."""

    code = "storage"


class ModelError(EvsError):
    """A model is unknown, missing or unfit: exit code 2."""

    code = "model"


class NotFiniteError(ModelError):
    """What a model gives holds NaN or infinity."""

    code = "not_finite"


class RunError(EvsError):
    """A run could not go on, or a command not begin: exit code 1."""

    code = "run"


def printable(text: str) -> str:
    """A text from outside, safe for a terminal and a log: no control characters or passwords, and not endless."""
    text = masked(text)
    cut = text if len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS // 2]} … {text[-MAX_SHOWN_CHARS // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def masked(text: str) -> str:
    """A text without the secrets of the addresses in it."""
    return _SECRETS.sub("***", text)


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the closest known name, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"
