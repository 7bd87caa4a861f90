"""Open video files, which are hostile until proven otherwise."""

from typing import Any, BinaryIO

import av
from av.stream import Disposition

from evs_batch.spec.errors import MediaError

MAX_PIXELS = 8192 * 8192
_DEMUX = {
    # A file object needs no protocol at all, and playlists are not videos.
    "protocol_whitelist": "none",
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,gif,flv,mpeg,ogg,h264,hevc",
}


def open_video(file: BinaryIO) -> Any:
    """Open a container for reading with network and playlists off; raises MediaError."""
    try:
        return av.open(file, options=dict(_DEMUX), metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(
            "the file", f"is not a video that can be opened ({reason(error)})", "check it with a player"
        ) from error


def video_stream(container: Any) -> Any:
    """The first video stream that is no cover picture; raises MediaError if there is none."""
    for stream in container.streams.video:
        if not is_cover(stream):
            return stream
    raise MediaError("the file", "has no video stream", "remove the row or replace the file")


def is_cover(stream: Any) -> bool:
    """Whether a stream is one picture beside the video."""
    return bool(stream.disposition & Disposition.attached_pic)


def reason(error: Exception) -> str:
    """What FFmpeg says of an error, without its numbers."""
    return getattr(error, "strerror", None) or str(error)
