"""Write results with the timestamps, tracks and tags of their sources: at once, or in parts that are joined."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from evs_batch.media import encoders, mux, pictures
from evs_batch.media.files import open_video, video_stream
from evs_batch.media.mux import Written
from evs_batch.spec.codecs import CODECS
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import VideoFacts


def encode(
    path: Path, frames_FHW3: np.ndarray, facts: VideoFacts, options: Output, source: BinaryIO | None = None
) -> Written:
    """Write (F, H, W, 3) uint8 frames, and what the source has beside them; raises EncodeError for what cannot be."""
    _, height, width, _ = frames_FHW3.shape
    codec, _ = encoders.pick(options)
    if options.container == "zip":
        with mux.explained(options):
            return pictures.write(path, frames_FHW3, facts, options, source)
    if codec.by_program:
        part = path.with_name(f"{path.stem}.part{path.suffix}")
        with mux.explained(options):
            encoders.by_program(part, frames_FHW3, facts, options)
        written = join(path, [part.open("rb")], facts, options, source)
        part.unlink()
        return written
    with mux.created(path, facts, options, source) as target:
        video = encoders.add_stream(target.out, frames_FHW3.shape, facts, options)
        tracks = target.mux(encoders.packets(frames_FHW3, facts, video, target.clock), video)
        return Written(height=height, width=width, begin_s=target.begin_s, tracks=tracks)


def join(path: Path, parts: Iterable[BinaryIO], facts: VideoFacts, options: Output, source: BinaryIO | None) -> Written:
    """Put the parts of a video, each encoded on its own, into one file.

    Parts are closed one after the other. Raises EncodeError for parts that do not fit together.
    """
    if options.container == "zip":
        with mux.explained(options):
            return pictures.join(path, parts, facts, source)
    files = iter(parts)
    with next(files) as first, mux.created(path, facts, options, source) as target:
        with open_video(first) as part:
            video = target.out.add_stream_from_template(video_stream(part), opaque=True)  # AV1's decoder: another name
            video.time_base, context = facts.time_base, video.codec_context
            context.framerate, context.sample_aspect_ratio = facts.rate, facts.aspect  # of which a template says less
            height, width = context.height, context.width
        encoders.name_codec(context, options)
        held_back = CODECS[options.codec].held_back
        tracks = target.mux(_moved(chain([first], files), facts, video, held_back, target.clock), video)
        return Written(height=height, width=width, begin_s=target.begin_s, tracks=tracks)


def _moved(files: Iterable[BinaryIO], facts: VideoFacts, video: Any, held_back: int, clock: int) -> Iterator[Any]:
    """The packets of all parts with the video's timestamps: in a part, they only say which frame a packet is.

    A packet is decoded when a frame is shown that is as many earlier as the encoder holds back.
    """
    number = 0
    early = facts.pts[min(held_back, facts.frames - 1)] - facts.pts[0]
    for file in files:
        file.seek(0)
        with file, open_video(file) as part:
            stream, first = video_stream(part), number
            if stream.codec_context.extradata != video.codec_context.extradata:
                raise ValueError("a part has other settings of the encoder than the first one")
            packets = [packet for packet in part.demux(stream) if packet.size]
            rank = {pts: at for at, pts in enumerate(sorted(packet.pts for packet in packets))}
            for packet in packets:
                frame = first + rank[packet.pts]
                packet.pts, packet.duration = facts.pts[frame] - clock, facts.durations[frame]
                begun = number >= held_back
                packet.dts = (facts.pts[number - held_back] if begun else facts.pts[number] - early) - clock
                packet.stream, packet.time_base = video, facts.time_base
                number += 1
                yield packet
