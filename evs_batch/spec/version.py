"""The version of the package, to which a run belongs, and those of what computes."""

import platform
from importlib.metadata import version

VERSION = "0.1.0"
_PACKAGES = ("ray", "torch", "diffusers", "transformers", "accelerate", "av", "imageio-ffmpeg", "pyarrow")


def versions() -> dict[str, str]:
    """Of this package, Python, and the packages whose versions may change a result."""
    return {"evs-batch": VERSION, "python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
