import pytest

from evs_batch.spec.units import amount, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.9, "59.9 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (7199, "2 h 0 min"), (90000, "1 d 1 h")],
)
def test_times(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(10, "0.0 kB"), (2_500_000, "2.5 MB"), (3e12, "3.0 TB")])
def test_sizes(size, text):
    assert amount(size) == text
