"""Whether weights are whole and of the right kind."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from evs_batch.models import layouts, loading, zoo
from evs_batch.models.places import Download, Hub, Local, locate
from evs_batch.spec.errors import ModelError

SHA256_DIGITS = 64


def verify(model: zoo.Entry) -> Iterator[str]:
    """Check files and tensors of a model; one line for each thing checked. Raises ModelError for the first fault."""
    for place, path in zip(zoo.places(model), zoo.locate_all(model), strict=True):
        if isinstance(place, Hub):
            for file in [path] if path.is_file() else [path / name for name in place.files]:
                yield f"{file}: {_checksum(file)}"
    if isinstance(model, Hub | Download | Local):
        tensors = layouts.read_tensors(locate(model, str(model)))
        yield f"{model}: {len(tensors)} tensors can be read"
        return
    if isinstance(model, zoo.DecoderSource):
        loading.load_decoder(model)
        yield f"{model.name}: every tensor of the decoder is there and fits"
        return
    base = model if isinstance(model, zoo.T2ISource) else model.spatial
    unet = loading.load_unet(base)
    loading.load_text(base)
    if isinstance(model, zoo.T2VSource):
        loading.load_motion_unet(model, unet)
        yield f"{model.name}: every tensor of the motion module is there and fits its base {base.name}"
    else:
        loading.load_vae(model)
        yield f"{model.name}: every tensor of unet, vae and text encoder is there and fits"


def _checksum(file: Path) -> str:
    """The hub names a large file in its cache by its SHA-256."""
    expected = file.resolve().name
    if len(expected) != SHA256_DIGITS:
        return "small, without a checksum"
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != expected:
        raise ModelError(str(file), f"has SHA-256 {found}, must have {expected}", "delete it and fetch it again")
    return f"SHA-256 {found}"
