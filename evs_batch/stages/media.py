"""The media worker: everything that touches video files."""

import errno
import hashlib
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from evs_batch.media import previews
from evs_batch.media.colours import colours, match
from evs_batch.media.cuts import BEFORE, find_cuts
from evs_batch.media.decode import Reader
from evs_batch.media.encode import encode, join
from evs_batch.media.encoders import pixel_format
from evs_batch.media.mux import Written
from evs_batch.media.probe import probe
from evs_batch.media.verify import verify
from evs_batch.spec.errors import EncodeError, MediaError, StorageError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.version import VERSION
from evs_batch.spec.work import Stage
from evs_batch.stages.item import Arrays, Item, Probed, Result
from evs_batch.stages.worker import measure
from evs_batch.store import scratch, storage

FULL = {errno.ENOSPC, errno.EDQUOT}
OPEN_VIDEOS = 8  # of long clips, whose segments are decoded one after the other
OPEN_PIXELS = 3840 * 2160 * 2  # of their pictures: a decoder holds about 18 bytes for each


def load(recipe: Recipe, threads: int) -> "MediaRunner":
    """There is nothing to load; every call uses one thread."""
    return MediaRunner(recipe)


@dataclass
class MediaRunner:
    """Probe and decode sources; encode, verify and publish results."""

    recipe: Recipe
    _open: OrderedDict[str, Reader] = field(default_factory=OrderedDict)

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        stages = {"probe": self._probe, "decode": self._decode, "encode": self._encode, "join": self._join}
        try:
            return [stages[stage.name](stage, item, arrays) for item, arrays in zip(items, inputs, strict=True)]
        except (OSError, EncodeError) as error:
            if {getattr(error, "errno", None), getattr(error.__cause__, "errno", None)} & FULL:
                folder = tempfile.gettempdir()
                raise StorageError(folder, f"is full ({error})", "make room, or set TMPDIR on that node") from error
            raise

    def _probe(self, stage: Stage, item: Item, arrays: Arrays) -> Result:
        with storage.open_input(item.clip.uri) as file:
            facts = probe(file, self.recipe.output, self.recipe.input)
        pixel_format(self.recipe.output, *self.recipe.output_size(facts.height, facts.width))
        sizes = measure(self.recipe, facts, item.budget_bytes)
        if sizes[0].segments.count == 1:
            return Result(arrays={}, probed=Probed(facts=facts, size=sizes[0], parts=item.parts))
        identity = (VERSION, self.recipe.fingerprint, item.clip, storage.checksum(item.clip.uri), facts)
        folders = {_digest((*identity, size.segments)): size for size in sizes}
        begun = storage.names(item.parts)
        name, size = next((found for found in folders.items() if found[0] in begun), next(iter(folders.items())))
        parts = storage.join(item.parts, name)
        there = storage.names(parts) if name in begun else set()
        done = frozenset(number for number in range(size.segments.count) if self._part_name(number) in there)
        return Result(arrays={}, probed=Probed(facts=facts, size=replace(size, done=done), parts=parts))

    def _decode(self, stage: Stage, item: Item, arrays: Arrays) -> Result:
        reader = self._open.pop(item.clip.id, None) or Reader(storage.open_input(item.clip.uri), item.known)
        try:
            before = reader.approach(item.own.start, BEFORE)
            frames_FHW3 = reader.read(item.own)
        except BaseException:
            _close(reader)
            raise
        if item.own.stop < item.segments.frames:
            self._keep_open(item, reader)
        else:
            _close(reader)
        cuts_F = find_cuts(frames_FHW3, before, self.recipe.t2v.scene_cut)
        matched: Arrays = {"colours": colours(frames_FHW3)} if "colours" in stage.gives else {}
        return Result(arrays={"frames": frames_FHW3, "cuts": cuts_F, **matched})

    def _keep_open(self, item: Item, reader: Reader) -> None:
        """For the next segment; a file that is not asked for again gives way to others."""
        self._open[item.clip.id] = reader
        while len(self._open) > OPEN_VIDEOS or (
            len(self._open) > 1 and sum(reader.pixels for reader in self._open.values()) > OPEN_PIXELS
        ):
            _close(self._open.popitem(last=False)[1])

    def _encode(self, stage: Stage, item: Item, arrays: Arrays) -> Result:
        frames_FHW3, facts, options = coloured(self.recipe, stage, item, arrays), item.known, self.recipe.output
        with scratch.folder() as folder:
            path = Path(folder) / f"result.{options.container}"
            if item.segments.count > 1:
                encode(path, frames_FHW3, facts.from_zero(), options)
                storage.publish(path, self._part(item, item.number))
                return Result(arrays={})
            with storage.open_input(item.clip.uri) as source:
                written = encode(path, frames_FHW3, facts, options, source)
            return self._published(path, item, written)

    def _join(self, stage: Stage, item: Item, arrays: Arrays) -> Result:
        with scratch.folder() as folder, storage.open_input(item.clip.uri) as source:
            options = self.recipe.output
            path = Path(folder) / f"result.{options.container}"
            parts = (_open_part(self._part(item, number)) for number in range(item.segments.count))
            return self._published(path, item, join(path, parts, item.known, options, source))

    def _published(self, path: Path, item: Item, written: Written) -> Result:
        """Verified, then under its final name: a file that is there is always whole."""
        facts = item.known
        verify(path, facts, written)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        warnings = [*facts.warnings, *self._previews(path, item)]
        size_bytes = path.stat().st_size
        storage.publish(path, item.output)
        row: dict[str, Any] = {
            "output_uri": item.output,
            "num_frames": facts.frames,
            "width": written.width,
            "height": written.height,
            "fps": facts.fps,
            "duration_s": facts.duration_s,
            "output_bytes": size_bytes,
            "output_sha256": digest,
            "output_warnings": "; ".join(warnings) or None,
        }
        return Result(arrays={}, row=row)

    def _previews(self, path: Path, item: Item) -> list[str]:
        """Published beside the result; that one cannot be made costs nobody a video."""
        options = self.recipe.output
        if not options.previews or item.clip.number >= options.preview_rows or options.container == "zip":
            return []
        folder = storage.join(storage.parent(storage.parent(item.output)), "previews")
        try:
            with storage.open_input(item.clip.uri) as source, previews.opened(source, item.known, path) as pair:
                for kind in options.previews:
                    name, make = previews.KINDS[kind]
                    make(path.with_name(name), pair)
                    storage.publish(path.with_name(name), storage.join(folder, f"{item.clip.id}.{name}"))
        except (MediaError, EncodeError, av.FFmpegError) as error:
            return [f"no previews: {error}"]
        return []

    def _part(self, item: Item, number: int) -> str:
        return storage.join(item.parts, self._part_name(number))

    def _part_name(self, number: int) -> str:
        return f"{number:06}.{self.recipe.output.container}"


def coloured(recipe: Recipe, stage: Stage, item: Item, arrays: Arrays) -> np.ndarray:
    """The frames of a segment's result, with the colours of the source where the recipe wants that."""
    if "colours" not in arrays:
        return arrays["frames"]
    start = item.rows(stage).index(item.own.start)
    own = slice(start, start + len(item.own))
    return match(arrays["frames"], arrays["colours"], arrays["cuts"], recipe.output.colour_match, own)


def _digest(identity: Any) -> str:
    """A folder name: parts are those of one clip, file, recipe and way to cut it, or of none."""
    return hashlib.blake2b(repr(identity).encode(), digest_size=8).hexdigest()


def _close(reader: Reader) -> None:
    reader.close()
    reader.file.close()


def _open_part(uri: str) -> BinaryIO:
    """A part of our own: that it cannot be read is not the fault of the source, and may pass."""
    try:
        return storage.open_input(uri)
    except MediaError as error:
        raise EncodeError(uri, f"is a part of the result and cannot be read ({error})", "try again") from error
