"""All of a file beside its pictures: what of it a result can hold, and its packets on their way there."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Any, BinaryIO

import av

from evs_batch.media import languages
from evs_batch.media.files import is_cover, open_video, reason
from evs_batch.spec.codecs import MUXERS
from evs_batch.spec.errors import MediaError
from evs_batch.spec.video import Track, VideoFacts

MAX_TAG_BYTES = 65_000  # mov counts to 65,535
MOV_NAME_LETTERS = 100  # of at most 127 bytes
INTERLEAVED_S = 1  # by how much a track may be stored after another of the same time
PRIMING_S = 0.1  # that a decoder of sound may need before the first sample
NEEDED = ("audio", "subtitle")  # a result without them is refused, unless the recipe says otherwise
_DISCARD_ALL = 48  # FFmpeg's mark of tracks that it reads for itself: names of chapters
_OF_THE_FILE = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "duration", "vendor_id", "rotate", "alpha_mode",
}  # fmt: skip
EMPTY_TEXT = 2  # bytes of a subtitle that only ends the one before: muxers add them
_ADTS = 0xFFF0  # how a packet of AAC begins that has a header, which some containers want and others do not
_STATISTICS = ("_statistics", "number_of_", "bps", "duration-")
_MP4_KEYS = {
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "creation_time",
}  # fmt: skip


@dataclass
class Copied:
    """What was written of a track: when it begins, on the result's clock, how many packets it has, and all their bytes.

    Packets of a `wrapped` track have headers, which the result may lack.
    """

    kind: str
    codec: str
    wrapped: bool = False
    packets: int = 0
    begin_s: float | None = None
    size_bytes: int = 0
    crc: int = 0

    def add(self, packet: Any, data: bytes) -> None:
        if self.codec == "mov_text" and len(data) <= EMPTY_TEXT:
            return
        at_s = float(packet.pts * packet.time_base)
        self.begin_s = at_s if self.begin_s is None else min(self.begin_s, at_s)
        self.packets += 1
        self.wrapped |= self.codec == "aac" and int.from_bytes(data[:2]) & _ADTS == _ADTS
        self.size_bytes += len(data)
        self.crc = zlib.crc32(data, self.crc)


def look(source: Any, pictures: Any, container: str, keep_all: bool) -> tuple[tuple[Track, ...], tuple[str, ...]]:
    """The tracks beside the pictures, and a warning for each that the result will not have.

    Raises MediaError for sound and subtitles that do not fit into `container`, if `keep_all`.
    """
    others = [stream for stream in source.streams if stream is not pictures and not _is_known_otherwise(stream)]
    firsts = first_packets(source, [stream for stream in others if stream.type == "audio" or is_cover(stream)])
    tracks, warnings = list[Track](), [*_long_tags(source, pictures)]
    for stream in others:
        empty = stream in firsts and firsts[stream] is None
        reason = "it has no packets" if empty else _unfit(source, stream, firsts.get(stream), container)
        if reason and keep_all and stream.type in NEEDED and not empty:
            raise MediaError(
                f"{stream.type} in {codec_name(stream)}", f"cannot be copied into {container} ({reason})",
                f"{_ways_out(stream.type, container)}, or set output.unfit = 'drop'",
            )  # fmt: skip
        language = stream.metadata.get("language", "")
        if not reason and language and not languages.named(language, container):
            lost = f"language {language} of {_kind(stream)} track {stream.index}"
            warnings.append(f"{lost} is left out: {container} has no code for it")
        if reason:
            kind = "second video" if _kind(stream) == "video" else _kind(stream)
            warnings.append(f"{kind} track {stream.index} ({codec_name(stream)}) is left out: {reason}")
        tracks.append(_track(stream, copied=not reason))
    return tuple(tracks), tuple(warnings)


def _is_known_otherwise(stream: Any) -> bool:
    """Names of chapters; a time code, which is also a tag of the pictures: a muxer makes it of that."""
    return stream.discard == _DISCARD_ALL or (stream.type == "data" and "timecode" in stream.metadata)


def _long_tags(source: Any, pictures: Any) -> list[str]:
    long = [name for found in (source.metadata, pictures.metadata) for name in found if _too_long(found[name])]
    return [f"tag {name[:80]} is left out: it is longer than {MAX_TAG_BYTES} bytes" for name in long]


def _too_long(value: str) -> bool:
    return len(value.encode(errors="replace")) > MAX_TAG_BYTES


def _ways_out(kind: str, container: str) -> str:
    convert = "convert the sound to AAC" if kind == "audio" else "convert the subtitles"
    return convert if container == "mkv" else f"set output.container = 'mkv', which holds more, or {convert}"


def _track(stream: Any, copied: bool) -> Track:
    base = stream.time_base or Fraction(0)
    return Track(
        index=stream.index, kind=_kind(stream), codec=codec_name(stream),
        language=stream.metadata.get("language", ""), start_s=float((stream.start_time or 0) * base),
        duration_s=float((stream.duration or 0) * base), copied=copied,
    )  # fmt: skip


def _kind(stream: Any) -> str:
    return "cover" if is_cover(stream) else stream.type


def _unfit(source: Any, stream: Any, packet: Any, container: str) -> str:
    """Why a result cannot hold a stream, or nothing. Better known now than after all the work."""
    if stream.type == "video" and not is_cover(stream):
        return "only one video is enhanced"
    written = BytesIO()
    try:
        with av.open(written, "w", format=MUXERS[container], options=muxing(container, source)) as result:
            copy = result.add_stream_from_template(stream)
            copy.disposition = stream.disposition
            result.start_encoding()
            if packet:
                packet.stream = copy
                result.mux(packet)
        return "" if packet is None or _is_there(written, _kind(stream)) else "players would not find it"
    except (av.FFmpegError, ValueError) as error:
        return reason(error)


def _is_there(written: BytesIO, kind: str) -> bool:
    written.seek(0)
    with av.open(written, metadata_errors="replace") as again:
        return any(_kind(stream) == kind for stream in again.streams)


def muxing(container: str, source: Any, flags: str = "") -> dict[str, str]:
    """Settings of a muxer: nothing is moved in time, and tags with names of their own are kept.

    Those of mp4 have more readers, so only a source that has others gets the way in which all are kept.
    """
    if MUXERS[container] == "matroska":
        return {"avoid_negative_ts": "disabled", "fflags": "+bitexact"}  # else a file gets a number of its own
    own_names = source is not None and any(name.lower() not in _MP4_KEYS for name in tags(source.metadata))
    flags += "+use_metadata_tags" if own_names else ""
    return {"movflags": flags} if flags else {}


def first_packets(container: Any, streams: list[Any]) -> dict[Any, Any]:
    """The next packet of every stream, None where there is none; raises MediaError for damaged sound."""
    firsts: dict[Any, Any] = dict.fromkeys(streams)
    try:
        for packet in packets(container, streams):
            firsts[packet.stream] = firsts[packet.stream] or packet
            if all(firsts.values()):
                break
    except (av.FFmpegError, IndexError) as error:
        raise MediaError("the sound", f"is damaged ({reason(error)})", "replace the file") from error
    return firsts


def packets(container: Any, streams: list[Any]) -> Iterator[Any]:
    """The packets of some streams, in the container's order; covers have no time, so they are there from zero on."""
    for packet in container.demux(streams) if streams else ():
        if packet.size and is_cover(packet.stream):
            packet.pts = packet.dts = 0
        if packet.dts is not None and (packet.size or packet.stream.type == "audio"):
            yield packet


def begin_s(source: BinaryIO, facts: VideoFacts) -> Fraction:
    """When pictures, sound or subtitles begin: a clock that starts late would be shown as a blank beginning."""
    pictures_s = earliest_s = facts.pts[0] * facts.time_base
    with open_video(source) as container:
        timed = [t.index for t in facts.tracks if t.copied and t.kind in NEEDED]
        for packet in packets(container, [container.streams[index] for index in timed]):
            at_s = packet.dts * packet.time_base
            earliest_s = min(earliest_s, at_s)
            if at_s > pictures_s + INTERLEAVED_S:
                break
    source.seek(0)
    return max(Fraction(0), earliest_s)


def copy(source: Any, facts: VideoFacts, out: Any, late_s: Fraction) -> tuple[Iterator[Any], list[Copied]]:
    """Tracks, chapters and tags of `source` as they are, for `out`, whose clock is late by so much.

    Gives their packets, read as they are asked for, and what those were once all are read.
    """
    wanted = [source.streams[track.index] for track in facts.tracks if track.copied]
    targets, made = {}, [Copied(track.kind, track.codec) for track in facts.tracks if track.copied]
    for stream in wanted:
        targets[stream.index] = target = out.add_stream_from_template(stream)
        target.metadata.update(tags(stream.metadata))
        if language := languages.named(stream.metadata.get("language", ""), out.format.name):
            target.metadata["language"] = language
        target.disposition = stream.disposition
    out.metadata.update(tags(source.metadata))
    out.set_chapters([_moved(chapter, late_s) for chapter in source.chapters()])
    records = dict(zip(targets, made, strict=True))

    def moved() -> Iterator[Any]:
        for packet in packets(source, wanted):
            if out.format.name == "matroska" and _is_trimmed(packet):
                continue
            index, shift = packet.stream.index, round(late_s / packet.time_base)
            if not is_cover(packet.stream):
                packet.dts -= shift
                packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            records[index].add(packet, bytes(packet))
            packet.stream = targets[index]
            yield packet

    return moved(), made


def _is_trimmed(packet: Any) -> bool:
    """Whether an edit list hides a packet: mkv has none, so it would be heard. What primes a decoder stays."""
    return packet.is_discard and (packet.pts + (packet.duration or 0)) * packet.time_base < -PRIMING_S


def contents(container: Any) -> list[Copied]:
    """What a file has beside its pictures, to be compared with what was copied."""
    others = [s for s in container.streams if not _is_known_otherwise(s) and (s.type != "video" or is_cover(s))]
    found = {stream.index: Copied(_kind(stream), codec_name(stream)) for stream in others}
    for packet in packets(container, others):
        found[packet.stream.index].add(packet, bytes(packet))
    return [*found.values()]


def _moved(chapter: Mapping[str, Any], late_s: Fraction) -> dict[str, Any]:
    shift = round(late_s / chapter["time_base"])
    return {**chapter, "start": max(0, chapter["start"] - shift), "end": max(0, chapter["end"] - shift)}


def tags(found: Mapping[str, str]) -> dict[str, str]:
    """Those that are about what a file or a track shows, not about the file itself."""
    kept = {name: value for name, value in found.items() if _is_about_content(name) and not _too_long(value)}
    if "handler_name" in kept:
        kept["handler_name"] = kept["handler_name"][:MOV_NAME_LETTERS]
    return {"title": kept["name"], **kept} if "name" in kept else kept  # of a track, in mp4


def _is_about_content(name: str) -> bool:
    return name.lower() not in _OF_THE_FILE and not name.lower().startswith(_STATISTICS)


def codec_name(stream: Any) -> str:
    return stream.codec_context.name if stream.codec_context else "an unknown codec"
