"""Where weights are: on this disk, in the folder for downloaded files, or in the cache of the Hugging Face hub.

Looking never goes online; `fetch` alone does.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from evs_batch.spec.errors import ModelError

FOLDER = "EVS_MODELS"
DEFAULT_FOLDER = "pretrained_models"  # as in the EVS release
ABSENT = "is not on this machine"


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A repository of the hub: one file of it, or a diffusers model of the given files."""

    repo: str
    revision: str = "main"
    file: str = ""
    files: tuple[str, ...] = ()
    licence: str = "see its page"
    gigabytes: float | None = None

    def __str__(self) -> str:
        return f"{self.repo}/{self.file}" if self.file else self.repo

    def find(self) -> Path | None:
        """The file, or the folder with the files, in the cache."""
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (reads HF_* when it is imported)

        wanted = [try_to_load_from_cache(self.repo, name, revision=self.revision) for name in self._names()]
        if not all(isinstance(path, str) for path in wanted):
            return None
        first = Path(str(wanted[0]))
        return first if self.file else first.parents[len(Path(self.files[0]).parts) - 1]

    def fetch(self) -> Path:
        """Download what is missing; raises ModelError with the hub's reason."""
        from huggingface_hub import hf_hub_download, is_offline_mode  # noqa: PLC0415

        if is_offline_mode():
            raise ModelError(str(self), "cannot be fetched offline", "unset HF_HUB_OFFLINE")
        try:
            for name in self._names():
                hf_hub_download(self.repo, name, revision=self.revision)
        except (OSError, ValueError) as error:
            raise ModelError(
                str(self), f"cannot be fetched ({error})", "check the connection, HF_ENDPOINT and HF_TOKEN"
            ) from error
        found = self.find()
        assert found, "all files were fetched"
        return found

    def advice(self, wanted: str) -> str:
        return f"get it: evs-batch models fetch {wanted}"

    def _names(self) -> tuple[str, ...]:
        return (self.file,) if self.file else self.files


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that a person downloads from a site into the folder `$EVS_MODELS`."""

    file: str
    page: str
    licence: str = "see its page"
    gigabytes: float | None = None

    def __str__(self) -> str:
        return self.file

    @property
    def path(self) -> Path:
        return Path(os.environ.get(FOLDER, DEFAULT_FOLDER)) / self.file

    def find(self) -> Path | None:
        return self.path if self.path.is_file() else None

    def fetch(self) -> Path:
        raise ModelError(self.file, "is not on the hub", self.advice(""))

    def advice(self, wanted: str) -> str:
        return f"download it from {self.page} as {self.path} (folder: ${FOLDER})"


@dataclass(frozen=True)
class Local:
    """A diffusers folder or a file that the user names."""

    path: Path
    licence = ""
    gigabytes = None

    def __str__(self) -> str:
        return str(self.path)

    def find(self) -> Path | None:
        return self.path if self.path.exists() else None

    def fetch(self) -> Path:
        return locate(self, str(self))

    def advice(self, wanted: str) -> str:
        return "check the path"


Place = Hub | Download | Local


def locate(place: Place, wanted: str) -> Path:
    """A file or folder on this disk; raises ModelError that says how it gets there.

    `wanted` is what `evs-batch models fetch` would be given.
    """
    found = place.find()
    if found is None:
        raise ModelError(str(place), ABSENT, place.advice(wanted))
    return found


def size_bytes(place: Place) -> float:
    """Of its files, where they are on this disk; infinity where they are not."""
    found = place.find()
    if found is None:
        return math.inf
    return sum(file.stat().st_size for file in (found, *found.glob("*"), *found.glob("*/*")) if file.is_file())


def latent_factor_px(place: Place) -> int:
    """8, as all of Stable Diffusion, unless a folder's autoencoder says otherwise."""
    config = place.path / "vae" / "config.json" if isinstance(place, Local) else None
    if config is None or not config.is_file():
        return 8
    return 2 ** (len(json.loads(config.read_text()).get("block_out_channels", "1234")) - 1)
