"""Read a finished file with a second, independent program before it is published."""

import subprocess
from pathlib import Path

import imageio_ffmpeg

from evs_batch.spec.errors import EncodeError

TIMEOUT_S = 600
TIMEOUT_OF_FRAME_S = 1  # more than any picture takes that we write


def verify(path: Path, frames: int) -> None:
    """Decode everything with ffmpeg's own program; raises EncodeError unless all `frames` come out without an error."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-xerror", "-nostdin", "-threads", "1",
        "-protocol_whitelist", "file,pipe", "-i", str(path.absolute()),
        "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "-",
    ]  # fmt: skip
    limit_s = TIMEOUT_S + frames * TIMEOUT_OF_FRAME_S
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise EncodeError(
            f"the encoded file of {frames} frames", f"must decode within {limit_s} s", "try again on a faster machine"
        ) from error
    found = sum(1 for line in done.stdout.splitlines() if not line.startswith(b"#"))
    if done.returncode != 0 or found != frames:
        complaint = done.stderr.decode(errors="replace").strip()[-300:] or "no message"
        raise EncodeError(
            f"the encoded file has {found} of {frames} frames", f"must decode completely ({complaint})", "try again"
        )
