"""Which weight files the learned metrics read, and where their authors publish them. Nothing heavy is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evs_batch.spec.errors import ModelError

CONVERT = "python -m evs_batch.evaluate.learned convert"


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """What a metric reads, by its name in the weights folder, and the pickle or folder that its authors publish.

    `folder` is the same network as a transformers folder, read where the file is not there.
    """

    file: str | None = None
    pickle: str | None = None
    folder: str | None = None
    published: str

    def found_in(self, folder: Path) -> bool:
        names = [name for name in (self.file, self.pickle, self.folder) if name]
        return any((folder / name).exists() for name in names)

    def locate(self, folder: Path) -> Path:
        """The path to read; a pickle alone is refused."""
        for name in (self.file, self.folder):
            if name and (folder / name).exists():
                return folder / name
        if self.pickle and (folder / self.pickle).exists():
            path = folder / self.pickle
            raise ModelError(str(path), "is a pickle, and pickles are not read", f"convert it: {CONVERT} {path}")
        raise ModelError(str(folder / (self.file or self.folder or "")), "is missing", self.advice(folder))

    def advice(self, folder: Path) -> str:
        """How to get this file."""
        if not self.pickle:
            return f"download {self.published} as the folder {self.folder}"
        convert = f"get {self.pickle} from {self.published} and convert it: {CONVERT} {folder / self.pickle}"
        return f"{convert}; or download the transformers folder {self.folder}" if self.folder else convert


AMT = WeightFile(
    file="amt-s.safetensors",
    pickle="amt-s.pth",
    published="https://huggingface.co/lalala125/AMT",
)
DINO = WeightFile(
    file="dino_vitbase16_pretrain.safetensors",
    pickle="dino_vitbase16_pretrain.pth",
    folder="dino-vitb16",
    published="https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
)
DOVER = WeightFile(
    file="DOVER.safetensors",
    pickle="DOVER.pth",
    published="https://github.com/QualityAssessment/DOVER/releases/download/v0.1.0/DOVER.pth",
)
SIGLIP = WeightFile(
    folder="siglip-so400m-patch14-384",
    published="https://huggingface.co/google/siglip-so400m-patch14-384",
)
AESTHETIC_HEAD = WeightFile(
    file="aesthetic_predictor_v2_5.safetensors",
    pickle="aesthetic_predictor_v2_5.pth",
    published="https://github.com/discus0434/aesthetic-predictor-v2-5/raw/main/models/aesthetic_predictor_v2_5.pth",
)

WEIGHTS: Mapping[str, tuple[WeightFile, ...]] = {
    "motion_smoothness": (AMT,),
    "subject_consistency": (DINO,),
    "dover": (DOVER,),
    "aesthetic": (SIGLIP, AESTHETIC_HEAD),
}
