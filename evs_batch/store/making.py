"""New manifests: from folders, globs, single videos and tables."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evs_batch.spec.errors import ManifestError, nearest
from evs_batch.spec.manifest import REQUIRED, is_safe_id
from evs_batch.store import prompts, reading, storage

VIDEOS = (
    ".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".flv", ".gif", ".ogv",
)  # fmt: skip
AT_ONCE = 16  # files that are read beside each other
MAX_SHOWN = 3
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_WILD = re.compile(r"[*?\[]")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Making:
    """How rows are made: which columns of tables hold URI and prompt, and where else a prompt comes from, in turn."""

    uri_column: str | None = None
    prompt_column: str | None = None
    finds: Sequence[prompts.Find] = ()


@dataclass(frozen=True)
class Source:
    """Rows, and which of their columns serve as `uri` and `prompt`."""

    schema: pa.Schema
    columns: Mapping[str, str]
    rows: Iterator[Row]


def create(uris: Sequence[str], making: Making, target: str) -> int:
    """Write the rows of all sources as one Parquet manifest, with absolute URIs; returns how many.

    Rows of several sources have their video and prompt in the columns `uri` and `prompt`. Raises ManifestError, and
    writes nothing then, where videos have no prompt, an id is used twice, or columns do not go together.
    """
    sources = [_source(reading.located(uri), making) for uri in uris]
    sources = [_usual(source) for source in sources] if len(sources) > 1 else sources
    with reading.explained(", ".join(uris)):
        schema = pa.unify_schemas([source.schema for source in sources], promote_options="permissive")
        schema = pa.schema([field.with_nullable(True) for field in schema])
        ids, bare, rows = Counter[str](), list[str](), 0
        with storage.created(storage.absolute(target)) as file, pq.ParquetWriter(file, schema) as writer:
            for source in sources:
                while batch := list(islice(source.rows, reading.BATCH_ROWS)):
                    bare += [str(row[source.columns["uri"]]) for row in batch if not row[source.columns["prompt"]]]
                    ids.update(str(row["id"]) for row in batch if row.get("id") is not None)
                    writer.write_table(pa.Table.from_pylist(batch, schema))
                    rows += len(batch)
            _refuse(bare, ids)
    return rows


def _usual(source: Source) -> Source:
    """With the columns of video and prompt called so."""
    usual = {column: role for role, column in source.columns.items() if column != role}
    kept = [field for field in source.schema if field.name not in (usual.keys() | usual.values())]
    schema = pa.schema([*kept, *(pa.field(role, pa.string()) for role in usual.values())])

    def renamed(row: Row) -> Row:
        others = {name: cell for name, cell in row.items() if name not in usual.values()}
        return {usual.get(name, name): cell for name, cell in others.items()}

    return Source(schema, {"uri": "uri", "prompt": "prompt"}, map(renamed, source.rows))


def _refuse(bare: Sequence[str], ids: Counter[str]) -> None:
    if bare:
        raise ManifestError(
            f"{len(bare)} videos", f"have no prompt, for example {', '.join(bare[:MAX_SHOWN])}",
            "put a .txt file beside each, or name --prompts, --prompt-column or a --prompt for all",
        )  # fmt: skip
    twice = next((name for name, count in ids.items() if count > 1), None)
    if twice:
        raise ManifestError(f"id={twice!r}", "is used twice", "make ids unique, or make a manifest of each source")


def _source(uri: str, making: Making) -> Source:
    if uri.lower().endswith(tuple(reading.READERS)) or _has_parquet(uri):
        return _table(uri, making)
    found, columns = _found(uri), {"uri": "uri", "prompt": "prompt"}
    rows = ({"id": name, "uri": video} for name, video in zip(_ids(found, _base(uri)), found, strict=True))
    finds = [prompts.sidecar, *making.finds]
    return Source(
        pa.schema([(name, pa.string()) for name in ("id", *columns)]), columns, _prompted(rows, columns, finds)
    )


def _table(uri: str, making: Making) -> Source:
    """The rows of a manifest or of another table; a column that is named serves instead of the usual one."""
    files, schema = reading.table(uri)
    named = {"uri": making.uri_column, "prompt": making.prompt_column}
    for name in filter(None, named.values()):
        if name not in schema.names:
            raise ManifestError(f"column '{name}'", f"is not in {uri}", nearest(name, schema.names))
    usual = {role: next((name for name in (role, *REQUIRED[role]) if name in schema.names), None) for role in named}
    if not (named["uri"] or usual["uri"]):
        raise ManifestError(
            f"columns {sorted(schema.names)}", "none is known to hold URIs", "name it with --uri-column"
        )
    columns = {role: role if named[role] else usual[role] or role for role in named}
    for column in columns.values():
        field, at = pa.field(column, pa.string()), schema.get_field_index(column)
        schema = schema.append(field) if at < 0 else schema.set(at, field)
    folder = storage.parent(files[0])

    def rows() -> Iterator[Row]:
        with reading.explained(uri):
            for cells in reading.cells(files):
                given = {columns[role]: cells.get(named[role] or columns[role]) for role in columns}
                where, prompt = given[columns["uri"]], given[columns["prompt"]]
                video = storage.resolve(str(where), folder) if where else None
                yield {**cells, columns["uri"]: video, columns["prompt"]: None if prompt is None else str(prompt)}

    return Source(schema, columns, _prompted(rows(), columns, making.finds))


def _prompted(rows: Iterator[Row], columns: Mapping[str, str], finds: Sequence[prompts.Find]) -> Iterator[Row]:
    """Rows that have no prompt get one from the first of `finds` that has one; some are looked up at once."""
    uri, prompt = columns["uri"], columns["prompt"]

    def filled(row: Row) -> Row:
        found = row.get(prompt) or next(filter(None, (find(str(row[uri]), row) for find in finds)), None)
        return {**row, prompt: found}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        while batch := list(islice(rows, reading.BATCH_ROWS)):
            yield from pool.map(filled, batch)


def _is_pattern(uri: str) -> bool:
    """Whether a URI names files by `*`, `?` or `[…]`; where these are in the name of a file, it is that file."""
    return bool(_WILD.search(uri)) and not uri.startswith(("http://", "https://")) and not storage.exists(uri)


def _has_parquet(uri: str) -> bool:
    """Whether a folder is a table; one with videos is a folder of videos, also where a manifest lies beside them."""
    if _is_pattern(uri) or not storage.is_folder(uri):
        return False
    names = [name.lower() for name in storage.names(uri)]
    return any(name.endswith(".parquet") for name in names) and not any(name.endswith(VIDEOS) for name in names)


def _found(uri: str) -> list[str]:
    """The videos of a folder and of those in it, of a glob, or the one that is named."""
    if _is_pattern(uri):
        found = storage.glob(uri)
    elif storage.is_folder(uri):
        found = storage.files(uri)
    else:
        found = [uri]
    videos = sorted(name for name in found if name.partition("?")[0].lower().endswith(VIDEOS))
    if not videos:
        raise ManifestError(uri, "holds no videos", f"they are known by their endings: {', '.join(VIDEOS)}")
    return videos


def _base(uri: str) -> str:
    """The folder below which files have names of their own."""
    wild = _WILD.search(uri)
    if wild and _is_pattern(uri):
        return storage.parent(uri[: wild.start()] + "x")
    return uri if storage.is_folder(uri) else storage.parent(uri)


def _ids(videos: Iterable[str], base: str) -> Iterator[str | None]:
    """What a video is called in its folder, if that can be an id; None leaves it to the hash of the row."""
    seen = set[str]()
    for video in videos:
        path = video.partition("?")[0].removeprefix(base).lstrip("/")
        stem = _UNSAFE.sub("-", path.rpartition(".")[0].replace("/", "_")).lstrip("-.")
        name = next(name for number in count(1) if (name := f"{stem}-{number}" if number > 1 else stem) not in seen)
        seen.add(name)
        yield name if is_safe_id(name) else None
