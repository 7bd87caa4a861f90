"""Video codecs of results: what each of them is to FFmpeg, in which files it goes, and what a preset means."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PRESETS = ("draft", "balanced", "archive")
MUXERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "zip": "matroska"}  # zip: of what is not pictures


@dataclass(frozen=True, kw_only=True)
class Codec:
    """`pixels` are its pixel formats, the usual one first; `presets` and `always` are options of its encoder.

    `lossy_to` is the largest value of `output.quality`, 0 for codecs that have no such scale; `held_back` how many
    frames its encoder keeps, with every preset, before it gives the first; `least_px` the smallest side that it takes.
    `by_program`: encoded by FFmpeg's program, as the x265 of
    PyAV 18.1 writes to memory that is not its own. `hardware` are encoders that take the place of `encoder`.
    """

    encoder: str
    containers: tuple[str, ...]
    pixels: tuple[str, ...]
    presets: tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]
    lossy_to: int = 0
    held_back: int = 0
    least_px: int = 1
    by_program: bool = False
    hardware: tuple[str, ...] = ()
    always: Mapping[str, str] = field(default_factory=dict)

    def options(self, preset: str, quality: int) -> dict[str, str]:
        """Options of the encoder."""
        scale = {"crf": str(quality)} if self.lossy_to else {}
        return {**self.always, **self.presets[PRESETS.index(preset)], **scale}


ALL_420 = ("yuv420p", "yuv420p10le")
ALL = (*ALL_420, "yuv422p", "yuv422p10le", "yuv444p", "yuv444p10le")

CODECS: Mapping[str, Codec] = {
    "h264": Codec(
        encoder="libx264", containers=("mp4", "mov", "mkv"), pixels=ALL, lossy_to=51, held_back=2,
        hardware=("h264_nvenc", "h264_qsv"),
        presets=({"preset": "veryfast"}, {"preset": "medium"}, {"preset": "slow"}),
        # With AVX-512, x264's macroblock tree gives other bytes at every run, and other ones than with AVX2.
        always={"x264-params": "mbtree=0"},
    ),
    "hevc": Codec(
        encoder="libx265", containers=("mp4", "mov", "mkv"), pixels=ALL, lossy_to=51, held_back=2, by_program=True,
        least_px=16,
        hardware=("hevc_nvenc", "hevc_qsv"),
        presets=({"preset": "veryfast"}, {"preset": "medium"}, {"preset": "slow"}),
        always={"x265-params": "pools=none:frame-threads=1:bframes=3:log-level=error", "tag": "hvc1"},
    ),
    "av1": Codec(
        encoder="libsvtav1", containers=("mp4", "mkv"), pixels=ALL_420, lossy_to=63, least_px=64,
        hardware=("av1_nvenc", "av1_qsv"),
        presets=({"preset": "10"}, {"preset": "8"}, {"preset": "5"}),
        always={"svtav1-params": "lp=1"},  # one core for a call, as everywhere
    ),
    "vp9": Codec(
        encoder="libvpx-vp9", containers=("mp4", "mkv"), pixels=("yuv420p", "yuv422p", "yuv444p"), lossy_to=63,
        presets=(
            {"deadline": "realtime", "cpu-used": "6"},
            {"deadline": "good", "cpu-used": "4"},
            {"deadline": "good", "cpu-used": "1"},
        ),
    ),
    "ffv1": Codec(
        encoder="ffv1", containers=("mkv",), pixels=("bgr0", "yuv444p", "yuv420p"), presets=({}, {}, {}),
        always={"level": "3", "g": "1", "slicecrc": "1"},
    ),
    "prores": Codec(
        encoder="prores_ks", containers=("mov", "mkv"), pixels=("yuv422p10le", "yuv444p10le"),
        presets=({}, {}, {}),
    ),
    "png": Codec(
        encoder="png", containers=("zip",), pixels=("rgb24",),
        presets=({"compression_level": "1"}, {"compression_level": "4", "pred": "sub"}, {}),
    ),
}  # fmt: skip
