"""Decode a video to RGB."""

from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange

from evs_batch.media.probe import MAX_PIXELS, VideoFacts, open_video, video_stream
from evs_batch.spec.errors import MediaError

DECODER_THREADS = 1  # the default takes every core of the node


def decode(file: BinaryIO, facts: VideoFacts) -> np.ndarray:
    """All frames as displayed, in display order: (F, H, W, 3) uint8; raises MediaError for damaged files."""
    frames_FHW3 = np.empty((facts.frames, facts.height, facts.width, 3), np.uint8)
    count = 0
    with open_video(file) as container:
        stream = video_stream(container)
        stream.codec_context.thread_count = DECODER_THREADS
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        try:
            for frame in container.decode(stream):
                picture_HW3 = np.rot90(_rgb(frame, facts), facts.rotation // 90)
                if count == facts.frames or frame.is_corrupt or picture_HW3.shape != frames_FHW3.shape[1:]:
                    raise _damaged(count, facts, "a frame is corrupt, of another size, or one too many")
                frames_FHW3[count] = picture_HW3
                count += 1
        except av.FFmpegError as error:
            raise _damaged(count, facts, str(error.strerror)) from error
    if count < facts.frames:
        raise _damaged(count, facts, "it ends early")
    return frames_FHW3


def _rgb(frame: av.VideoFrame, facts: VideoFacts) -> np.ndarray:
    source = ColorRange.JPEG if facts.full_range else ColorRange.MPEG
    converted = frame.reformat(
        format="rgb24", src_colorspace=facts.matrix, src_color_range=source, dst_color_range=ColorRange.JPEG
    )
    return converted.to_ndarray()


def _damaged(count: int, facts: VideoFacts, reason: str) -> MediaError:
    return MediaError(
        f"frame {count} of {facts.frames}", f"cannot be decoded ({reason})", "replace the file or re-encode it"
    )
