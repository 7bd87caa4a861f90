"""The media worker: everything that touches video files."""

import hashlib
import tempfile
from pathlib import Path

from evs_batch.media.decode import decode
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.media.verify import verify
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Stage
from evs_batch.stages.item import Arrays, Item, Result
from evs_batch.store import storage


def load(recipe: Recipe, threads: int) -> "MediaRunner":
    """There is nothing to load; every call uses one thread."""
    return MediaRunner(recipe)


class MediaRunner:
    """Probe and decode sources; encode, verify and publish results."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._stages = {"probe": self._probe, "decode": self._decode, "encode": self._encode}

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        return [self._stages[stage.name](item, arrays) for item, arrays in zip(items, inputs, strict=True)]

    def _probe(self, item: Item, arrays: Arrays) -> Result:
        with storage.open_input(item.clip.uri) as file:
            return Result(arrays={}, facts=probe(file))

    def _decode(self, item: Item, arrays: Arrays) -> Result:
        with storage.open_input(item.clip.uri) as file:
            return Result(arrays={"frames": decode(file, item.known)})

    def _encode(self, item: Item, arrays: Arrays) -> Result:
        """Temporary name, verify, publish: a file under its final name is always whole."""
        frames_FHW3, facts = arrays["frames"], item.known
        with tempfile.TemporaryDirectory(prefix="evs-") as folder, storage.open_input(item.clip.uri) as source:
            path = Path(folder) / "result.mp4"
            encode(path, frames_FHW3, facts, self._recipe.output, source)
            verify(path, facts.frames)
            with path.open("rb") as written:
                digest = hashlib.file_digest(written, "sha256").hexdigest()
            size_bytes = path.stat().st_size
            storage.publish(path, item.output)
        _, height, width, _ = frames_FHW3.shape
        row = {
            "output_uri": item.output,
            "num_frames": facts.frames,
            "width": width,
            "height": height,
            "fps": facts.fps,
            "duration_s": facts.duration_s,
            "output_bytes": size_bytes,
            "output_sha256": digest,
        }
        return Result(arrays={}, row=row)
