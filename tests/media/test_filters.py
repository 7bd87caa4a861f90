import numpy as np
import pytest

from evs_batch.media import filters
from evs_batch.media.filters import PEAK_NITS, WHITE_NITS, tone_mapped
from evs_batch.spec.errors import MediaError
from evs_batch.spec.video import HLG, PQ

NITS = np.array([0.0, 1.0, 10.0, 50.0, 100.0, 203.0, 500.0, 1000.0])


def in_pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    y = (nits / 10_000) ** m1
    return ((c1 + c2 * y) / (1 + c3 * y)) ** m2


def mobius(linear: np.ndarray, knee: float = 0.3) -> np.ndarray:
    """The curve as FFmpeg's manual describes it: straight up to the knee, then bent so that the peak becomes 1."""
    peak = PEAK_NITS / WHITE_NITS
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    bent = (b**2 + 2 * b * knee + knee**2) / (b - a) * (linear + a) / (linear + b)
    return np.where(linear <= knee, linear, bent)


def gray(values: np.ndarray) -> np.ndarray:
    """(1, 16, 16 * values, 3) uint16 of fields of gray."""
    stored = np.rint(values * 65535).astype(np.uint16).repeat(16)
    return np.broadcast_to(stored[None, None, :, None], (1, 16, len(stored), 3)).copy()


def test_light_in_pq_becomes_what_the_curve_says():
    found = tone_mapped(gray(in_pq(NITS)), PQ)[0, 8, 8::16]
    expected = 255 * np.clip(mobius(NITS / WHITE_NITS), 0, 1) ** (1 / 2.4)
    assert np.abs(found - expected[:, None]).max() <= 3, "BT.1886"


def test_light_in_hlg_is_ordered_and_fills_the_range():
    found = tone_mapped(gray(np.linspace(0, 1, 8)), HLG)[0, 8, 8::16].astype(int)
    assert (np.diff(found, axis=0) > 0).all()
    assert found[0].max() <= 2
    assert found[-1].min() >= 240


def test_a_red_of_bt2020_is_red_in_bt709():
    picture = gray(np.full(1, 0.4))
    picture[..., 1:] = 0
    red, green, blue = tone_mapped(picture, PQ)[0, 8, 8].astype(int)
    assert red > 100
    assert max(green, blue) <= 2


def test_what_the_program_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(filters, "_TRANSFERS", {PQ: "no_such_transfer"})
    with pytest.raises(MediaError, match=r"cannot be mapped to BT\.709"):
        tone_mapped(gray(np.full(1, 0.4)), PQ)
