from evs_batch.bench import media
from evs_batch.spec.codecs import CODECS


def test_every_codec_and_the_peer_are_timed():
    rows = media.compare(64, 96, frames=4, repeats=1, rate=2.0)
    encoded = {row["codec"] for row in rows if row["system"] == "evs-batch" and row["part"] == "encode"}
    assert encoded == set(CODECS)
    assert {row["part"] for row in rows if row["system"] == media.PEER} == {"decode", "encode"}
    for row in rows:
        assert row["frames_per_s"] > 0
        assert abs(row["cores_per_gpu"] * row["frames_per_s"] - 2.0) < 1e-9
