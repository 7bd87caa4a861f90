"""What FFmpeg's filters do to pictures: fields become frames, HDR becomes BT.709."""

# F frames, H/W pixels

import subprocess
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import imageio_ffmpeg
import numpy as np
from av.filter import Graph

from evs_batch.spec.errors import MediaError
from evs_batch.spec.video import HLG, PQ

EXACT = "bicubic+accurate_rnd+full_chroma_int"
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
WHITE_NITS = 203  # of graphics in HDR pictures (ITU-R BT.2408)
PEAK_NITS = 1000
_TRANSFERS = {PQ: "smpte2084", HLG: "arib-std-b67"}
_TIMEOUT_S = 300


class Scaler:
    """Frames in another pixel format, one by one; knows where samples of shared colours lie (FFmpeg's scale filter)."""

    def __init__(self, pixels: str, settings: str) -> None:
        self._pixels, self._settings = pixels, f"{settings}:flags={EXACT}"
        self._made_for, self._graph = None, Graph()

    def __call__(self, frame: Any) -> Any:
        if self._made_for != (kind := (frame.width, frame.height, frame.format.name)):
            self._made_for, self._graph = kind, _graph(frame, ("scale", self._settings), ("format", self._pixels))
        self._graph.vpush(frame)
        return self._graph.vpull()


def to_rgb(matrix: int, full_range: bool, pixels: str) -> Scaler:
    """From colours as they are stored."""
    stored = f"in_color_matrix={_MATRICES[matrix]}:in_range={'full' if full_range else 'limited'}"
    return Scaler(pixels, f"{stored}:out_range=full")


def from_rgb(matrix: int, pixels: str) -> Scaler:
    """To limited range, where that is no RGB."""
    return Scaler(pixels, f"out_color_matrix={_MATRICES[matrix]}:out_range=limited")


def deinterlaced(frames: Iterable[Any]) -> Iterator[Any]:
    """A frame for each frame, which looks at the one before and the one after it (bwdif); progressive ones stay."""
    return _filtered(frames, "bwdif", "mode=send_frame:deint=interlaced")


def _filtered(frames: Iterable[Any], name: str, settings: str) -> Iterator[Any]:
    graph: Graph | None = None
    for frame in frames:
        graph = graph or _graph(frame, (name, settings))
        graph.vpush(frame)
        yield from _ready(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _ready(graph)


def _graph(frame: Any, *filters: tuple[str, str]) -> Graph:
    """Filters one after the other, for frames like this one."""
    graph, base = Graph(), Fraction(1, 1_000_000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    between = [graph.add(name, settings) for name, settings in filters]
    graph.link_nodes(source, *between, graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[Any]:
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):
            return


def tone_mapped(frames_FHW3: np.ndarray, transfer: int) -> np.ndarray:
    """(F, H, W, 3) uint16 BT.2020 RGB in PQ or HLG to uint8 BT.709 (zscale, and tonemap with the curve Mobius).

    Raises MediaError if FFmpeg's program does not do it.
    """
    _, height, width, _ = frames_FHW3.shape
    chain = (
        f"format=gbrp16le,setparams=colorspace=gbr:range=pc:color_primaries=bt2020:color_trc={_TRANSFERS[transfer]},"
        f"zscale=t=linear:npl={WHITE_NITS},format=gbrpf32le,zscale=p=bt709,"
        f"tonemap=mobius:desat=0:peak={PEAK_NITS / WHITE_NITS},zscale=t=bt709:r=full,format=gbrp"
    )
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-filter_threads", "1",
        "-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", "-i", "-",
        "-vf", chain, "-pix_fmt", "rgb24", "-f", "rawvideo", "-",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, input=frames_FHW3.tobytes(), capture_output=True, timeout=_TIMEOUT_S, check=True)
        return np.frombuffer(done.stdout, np.uint8).reshape(frames_FHW3.shape)
    except (subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise MediaError(
            "HDR pictures", f"cannot be mapped to BT.709 ({said.decode(errors='replace')[-300:].strip()})",
            "convert the video, or set input.hdr = 'refuse'",
        ) from error  # fmt: skip
