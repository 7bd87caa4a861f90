"""What the report says, before any browser."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from evs_batch.report import build, facts
from evs_batch.spec.errors import OutputError
from evs_batch.spec.failures import FAILURES
from evs_batch.store import ledger
from tests.report.conftest import HOSTILE, STATS, bad, good, write_metrics


def test_a_run_in_figures(make_output):
    found = facts.collect(str(make_output([good(1), good(2), bad("x", "MediaError")])))
    assert dict(found["summary"]) == {
        "state": "done", "rows committed": "3 of 3", "success": "2", "failed": "1", "frames": "24", "video": "1.0 s",
        "results": "3.0 kB", "last run took": "1 min 30 s", "T2I, all workers": "3.0 s", "T2V, all workers": "1.0 s",
    }  # fmt: skip
    assert found["reached"].endswith("was reached: 0.91 (bottleneck: the models)")
    assert found["stages"] == [("t2i_a", 1, 12, 1.5, 125.0, 0.75)]
    assert found["workers"] == [("model-0", 1, 12, 1.5, 2.0, 2.0)]
    assert found["calls"][0] == ("model-0", "t2i_a", 1.0, 2.5)
    assert "[t2i]\nsteps = 20" in found["recipe"]
    assert '# evs_version: "1.0"' in found["recipe"]
    assert '# versions: {"torch": "2.13"}' in found["recipe"]
    assert '# workers: {"a GPU": 1}' in found["recipe"]


def test_failures_are_grouped_with_what_to_do(make_output):
    rows = [*(bad(f"m{n}", "MediaError", f"why {n}") for n in range(30)), bad("o", "Odd"), good(1)]
    media, odd = facts.collect(str(make_output(rows)))["failures"]
    assert (media["type"], media["count"], len(media["examples"])) == ("MediaError", 30, facts.EXAMPLES)
    assert (media["meaning"], media["fix"]) == FAILURES["MediaError"]
    assert media["examples"][0] == ("m0", "probe", "why 0")
    assert odd["fix"] == "look at the message"


def test_links_lead_to_files_and_pages_only(make_output):
    rows = [
        good(1), good(2, uri="s3://bucket/a.mp4"), good(3, uri="javascript:alert(1)"), bad("x", "MediaError"),
        good(4, uri="https://me:secret@host/a.mp4"),
    ]  # fmt: skip
    found = {row["id"]: row for row in facts.collect(str(make_output(rows)))["rows"]}
    assert [found[f"clip{n}"]["source"] for n in (1, 2, 3)] == ["file:///videos/1.mp4", None, None]
    assert found["clip4"]["source"] == "https://***@host/a.mp4"
    assert found["clip1"]["result"] == "videos/clip1.mp4"
    assert (found["x"]["source"], found["x"]["result"]) == ("https://host/x.mp4", None)


def test_of_very_many_rows_the_first_are_listed_and_all_are_counted(make_output, monkeypatch):
    monkeypatch.setattr(facts, "MOST_ROWS", 2)
    found = facts.collect(str(make_output([good(n) for n in range(1, 6)])))
    assert ([row["id"] for row in found["rows"]], found["left_out"]) == (["clip1", "clip2"], 3)
    assert dict(found["summary"])["success"] == "5"


def test_rows_that_failed_are_listed_also_behind_the_first_ones(make_output, monkeypatch):
    monkeypatch.setattr(facts, "MOST_ROWS", 2)
    monkeypatch.setattr(facts, "MOST_FAILED", 1)
    rows = [good(1), good(2), good(3), bad("x", "Odd"), bad("y", "Odd")]
    assert [row["id"] for row in facts.collect(str(make_output(rows)))["rows"]] == ["clip1", "clip2", "x"]


def test_several_drivers_have_their_own_lanes(make_output):
    found = facts.collect(str(make_output([good(1)], stats=(STATS, STATS))))
    assert {call[0] for call in found["calls"]} == {"1: model-0", "1: media-0", "2: model-0", "2: media-0"}
    assert found["stages"] == [("t2i_a", 2, 24, 3.0, 125.0, 0.75)]


def test_metrics_have_means_and_distributions(make_output):
    output = make_output([good(1), good(2)])
    assert facts.collect(str(output))["quality"] == []
    write_metrics(
        output, [{"id": "clip1", "psnr": 30.0, "source_psnr": 20.0}, {"id": "clip2", "psnr": 40.0, "source_psnr": None}]
    )
    (psnr,) = facts.collect(str(output))["quality"]
    assert (psnr["name"], psnr["rows"], psnr["source"], psnr["result"]) == ("psnr", 2, 20.0, 35.0)
    assert (psnr["result_bins"][10], psnr["result_bins"][-1], psnr["source_bins"][0]) == (1, 1, 1)


def test_what_rows_hold_stays_data_and_only_the_script_of_the_page_may_run(make_output):
    output = make_output([good(1, prompt=HOSTILE), bad("x", "MediaError", HOSTILE)])
    page = Path(build(str(output))).read_text()
    assert page.count("<script") == page.count("</script>") == 2
    assert "window.harmed" in page
    assert "<img src=x" not in page
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert text
    assert script
    assert json.loads(text[1])["rows"][0]["prompt"] == HOSTILE
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_parts_with_other_columns_are_all_shown(make_output, tmp_path):
    output = make_output([good(1)])
    row = {**good(2), "caption": "of the caption", "video_path": "/videos/x.mp4"}
    del row["prompt"], row["uri"]
    fields = [pa.field("video_path", pa.string()), pa.field("caption", pa.string())]
    book = ledger.open_ledger(str(output), {}, fields, force=True, check=lambda: None)
    book.commit(row)
    book.close()
    found = facts.collect(str(output))["rows"]
    assert {(row["id"], row["prompt"], row["source"]) for row in found} == {
        ("clip1", "star number 1", "file:///videos/1.mp4"), ("clip2", "of the caption", "file:///videos/x.mp4"),
    }  # fmt: skip


def test_records_of_an_earlier_division_do_not_count(make_output):
    output = make_output([good(1)], stats=(STATS, STATS))
    ledger.write_stats(str(output), (1, 1), {**STATS, "updated_s": 500.0})
    assert {call[0] for call in facts.collect(str(output))["calls"]} == {"model-0", "media-0"}


def test_a_run_that_has_only_begun_has_a_report(make_output):
    begun = {name: STATS[name] for name in ("state", "rows", "manifest_rows", "started_s", "updated_s")}
    found = facts.collect(str(make_output([], stats=({**begun, "state": "running"},))))
    assert (found["rows"], found["calls"], found["failures"]) == ([], [], [])
    assert dict(found["summary"])["rows committed"] == "0 of 3"


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(OutputError, match="holds no run"):
        build(str(tmp_path))
