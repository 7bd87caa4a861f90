"""Make `docs/before_after.png` from the demo's results: `make local`, then `python docs/make_before_after.py`."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from evs_batch.media.decode import decode
from evs_batch.media.probe import probe
from evs_batch.tiny import clips

ROOT = Path(__file__).parents[1]
SHOWN = ("with_sound", "ntsc", "film")
FRAMES = (0, 7, 8, 15)


def main() -> None:
    rows = {row["id"]: row for row in pq.read_table(ROOT / "manifests" / "demo.parquet").to_pylist()}
    columns = []
    for name in SHOWN:
        source = frames_of(ROOT / "manifests" / rows[name]["uri"])
        result = frames_of(ROOT / "out" / "demo" / "videos" / f"{name}.mp4")
        clean = clips.render(clips.scene(rows[name]["scene_seed"]), len(source))
        columns.append(np.concatenate([strip(video) for video in (source, result, clean)]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(ROOT / "docs" / "before_after.png", optimize=True)


def frames_of(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        facts = probe(file)
        file.seek(0)
        return decode(file, facts)


def strip(video_FHW3: np.ndarray) -> np.ndarray:
    """Some frames side by side with a margin."""
    margin = ((4, 4), (2, 2), (0, 0))
    return np.concatenate([np.pad(video_FHW3[f], margin, constant_values=255) for f in FRAMES], axis=1)


if __name__ == "__main__":
    main()
