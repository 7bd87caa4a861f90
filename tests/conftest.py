"""Builders that all tests share."""

import os
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("evs", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("evs")
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores: a thread each is fastest for all
    os.environ["OMP_NUM_THREADS"] = "1"
    os.cpu_count = lambda: 1
ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first: what is left at the end fills the processes evenly."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a real mp4 of moving stripes."""
    from evs_batch.media.encode import encode
    from evs_batch.spec.recipe import Output
    from evs_batch.spec.video import constant_rate

    def make(name: str = "clip.mp4", frames: int = 6, height: int = 32, width: int = 48, rate: int = 25) -> Path:
        path = tmp_path / name
        facts = constant_rate(frames, height, width, Fraction(rate))
        encode(path, stripes(frames, height, width), facts, Output(quality=8))
        return path

    return make


def stripes(frames: int, height: int, width: int) -> np.ndarray:
    """(F, H, W, 3) uint8 of soft moving stripes, which video codecs keep well."""
    f, y, x = np.mgrid[0:frames, 0:height, 0:width]
    waves = [np.sin((x + 2 * f) / 9), np.sin((y - f) / 7), np.cos((x + y) / 11)]
    return (127 + 90 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.fixture
def make_manifest(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as a Parquet manifest."""

    def make(rows: list[dict[str, Any]], name: str = "videos.parquet") -> Path:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def text_file() -> BytesIO:
    return BytesIO(b"this is a text file that is called a video\n" * 20)
