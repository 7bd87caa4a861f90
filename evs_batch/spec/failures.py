"""Why rows fail, as `error_type` says it: what happened, and what to do. docs/errors.md shows this table."""

from collections.abc import Mapping

_AGAIN = "`--retry-failed` does failed rows again"

FAILURES: Mapping[str, tuple[str, str]] = {
    "ManifestError": ("the row itself is wrong", "`evs-batch validate MANIFEST --fix clean.parquet`"),
    "RecipeError": ("the row and the recipe do not go together", "change the row, or the key that is named"),
    "MediaError": (
        "the source video is missing, damaged, or refused by the recipe",
        f"`evs-batch probe VIDEO` says what it holds; mend or fetch it, then {_AGAIN}",
    ),
    "EncodeError": ("the result could not be written, or is not what was written", f"look at the message; {_AGAIN}"),
    "StorageError": (
        "a storage refused, or was out of reach for too long",
        f"`evs-batch doctor VIDEO --output FOLDER`; then {_AGAIN}",
    ),
    "TooLarge": (
        "the clip needs more memory than all that is in flight may have",
        "raise `runtime.memory_gb`, or lower `runtime.segment_frames` or `t2v.context`",
    ),
    "OutOfMemoryError": (
        "a GPU's memory has run out, with all that makes a worker lighter tried",
        "a larger GPU, a smaller `t2i.upscale`, or `runtime.vae_tiles`",
    ),
    "MemoryError": ("a worker's memory on its node has run out", "lower `runtime.segment_frames`, or use larger nodes"),
    "WorkerDied": (
        "the process of a worker died with this clip alone, at every attempt",
        f"the message and Ray's log of the worker say why; if the node was short of memory, {_AGAIN} on larger ones",
    ),
    "Hung": (
        "a call did not come back, at every attempt",
        "look at the video; if it is only slow, raise `runtime.timeout_s`",
    ),
    "ObjectLostError": ("data were lost with their nodes, twenty times", f"{_AGAIN} on nodes that stay"),
    "ObjectStoreFullError": ("an object store was full", "lower `runtime.memory_gb`, or give Ray more"),
    "OutOfDiskError": ("the disk that Ray spills to was full", "make room, or set TMPDIR on the nodes"),
}
