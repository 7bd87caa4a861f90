"""What becomes of a video, found out in another process."""

from io import BytesIO

from evs_batch.media.decode import decode
from evs_batch.media.probe import probe
from evs_batch.spec.errors import MediaError

MEMORY_BYTES, LIMIT_S = 6 << 30, 60
FINE = "fine"


def outcome(data: bytes) -> str:
    """What becomes of a file: 'fine', or what is said of it; anything but a MediaError is raised."""
    try:
        facts = probe(BytesIO(data))
        frames = decode(BytesIO(data), facts)
    except MediaError as error:
        return str(error)
    assert len(frames) == facts.frames
    return FINE
