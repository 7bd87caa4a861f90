"""The page as one file."""

import base64
import hashlib
import json
from pathlib import Path
from string import Template

from evs_batch.report.facts import collect
from evs_batch.store import storage

_HERE = Path(__file__).parent
NAME = "report.html"


def build(output: str) -> str:
    """Write the report of a run into its folder, in the place of an earlier one; gives its URI. Raises OutputError.

    What comes from rows is data, never markup, and only the script of this package may run in the page.
    """
    uri = storage.absolute(output).rstrip("/")
    script, page = (_HERE / "page.js").read_text(), Template((_HERE / "page.html").read_text())
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(collect(uri), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":  # none of them ends the element that holds the data, or begins another one
        data = data.replace(character, f"\\u{ord(character):04x}")
    filled = page.substitute(
        style=(_HERE / "page.css").read_text(), script=script, script_hash=f"sha256-{digest}", data=data
    )
    storage.write_bytes(filled.encode(), storage.join(uri, NAME))
    return storage.join(uri, NAME)
