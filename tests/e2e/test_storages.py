"""Runs on real servers of S3, SFTP and HTTP, and on a disk that is full."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, OPEN, Head, environment, output_rows
from tests.servers import S3, S3_SECRET, s3_server, sftp_server, web_server

pytestmark = [pytest.mark.ray, pytest.mark.slow]
CLIP = ROOT / "manifests" / "clips" / "short.mp4"
NAMESPACE = ["unshare", "--map-root-user", "--mount"]


@pytest.fixture
def s3() -> Iterator[S3]:
    with s3_server() as server:
        server.client().create_bucket(Bucket="box")
        yield server


def table(rows: list[dict[str, Any]]) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def test_one_run_over_all_storages(head: Head, evs_batch: Callable[..., Any], s3: S3, tmp_path: Path, monkeypatch):
    """And its secrets are nowhere to be read."""
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", s3.endpoint)
    with sftp_server(tmp_path) as sftp, web_server(CLIP.parent) as web:
        uris = [str(CLIP), "clips/a.mp4", f"sftp://127.0.0.1{CLIP}", f"{web}/short.mp4", f"{web}/none.mp4"]
        rows = [{"id": f"clip{number}", "uri": uri, "prompt": "a red star"} for number, uri in enumerate(uris)]
        s3.client().put_object(Bucket="box", Key="in/rows.parquet", Body=table(rows))
        s3.client().put_object(Bucket="box", Key="in/clips/a.mp4", Body=CLIP.read_bytes())
        options = [
            f"s3.endpoint_url={s3.endpoint}",
            "s3.key=$AWS_ACCESS_KEY_ID",
            "s3.secret=$AWS_SECRET_ACCESS_KEY",
            *sftp.options,
        ]
        command = ["run", "s3://box/in/rows.parquet", "--recipe", "identity", "--plain", "--max-failed-fraction", "0.2"]
        settings = ["--set", f"runtime.storage={options}"]
        ran = evs_batch(*command, "--output", "s3://box/out", *settings)
        there = {key: data for key, data in s3.objects("box").items() if key.startswith("out/")}
        again = evs_batch(*command, "--output", "s3://box/out", *settings)
        status = evs_batch("status", "s3://box/out")
        halves = [
            subprocess.Popen(
                [str(BIN / "evs-batch"), *command, *settings, "--output", f"sftp://127.0.0.1{tmp_path}/far/out",
                 "--shard", f"{number}/2", "--address", head.address], env=environment(),
            )
            for number in (1, 2)
        ]  # fmt: skip
        assert [half.wait(200) for half in halves] == [3, 0], "of the first three rows one failed"
    assert "clip4 failed in probe" in ran.stderr
    assert "5 of 5 rows" in again.stdout + status.stdout
    assert there == {key: data for key, data in s3.objects("box").items() if key.startswith("out/")}
    _check_far_output(there)
    far = output_rows(tmp_path / "far" / "out")
    assert sorted((row["id"], row["status"]) for row in far)[3:] == [("clip3", "success"), ("clip4", "failed")]
    assert {row["output_sha256"] for row in far[:4] if row["output_sha256"]} == {
        hashlib.sha256(there["out/videos/clip0.mp4"]).hexdigest()
    }
    logs = {str(path): path.read_bytes() for path in head.folder.rglob("logs/**/*") if path.is_file()}
    assert any(b":actor_name:" in log for log in logs.values()), "logs of our workers"
    said = {"stdout": ran.stdout.encode(), "stderr": ran.stderr.encode(), "status": status.stdout.encode()}
    assert [name for name, data in {**there, **logs, **said}.items() if S3_SECRET.encode() in data] == []


def _check_far_output(there: dict[str, bytes]) -> None:
    """The output of five rows on S3, the last of them failed: whole, and with nothing besides."""
    videos = {f"out/videos/clip{number}.mp4" for number in range(4)}
    records = {f"out/_run/{name}.json" for name in ("run", "done", "stats", "trace")}
    parts = {key for key in there if re.fullmatch(r"out/manifest/[a-z]+-[0-9a-f-]+\.parquet", key)}
    assert there.keys() == videos | records | parts
    rows = [row for key in sorted(parts) for row in pq.read_table(BytesIO(there[key])).to_pylist()]
    assert sorted((row["id"], row["status"], row["error_type"]) for row in rows) == [
        *((f"clip{number}", "success", None) for number in range(4)), ("clip4", "failed", "MediaError"),
    ]  # fmt: skip
    for row in rows[:4]:
        if row["status"] == "success":
            assert hashlib.sha256(there[f"out/videos/{row['id']}.mp4"]).hexdigest() == row["output_sha256"]


def test_a_full_disk_ends_a_run_which_goes_on_when_there_is_room(tmp_path: Path, make_manifest: Callable[..., Path]):
    can = shutil.which("unshare") and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False)
    if not can or can.returncode:
        pytest.skip("no mount namespaces here")
    manifest = make_manifest([{"id": f"c{n}", "uri": str(CLIP), "prompt": "a star"} for n in range(20)])
    small = tmp_path / "small"
    small.mkdir()
    options = "--recipe identity --set runtime.max_attempts=1 --plain"
    run = f"{sys.executable} -m evs_batch run {manifest} {options} --output {small}/out"
    script = f"""
        mount -t tmpfs -o size=300k tmpfs {small}
        {run}; echo "exit code $?"
        find {small} -name '*.partial'
        mount -o remount,size=10m {small}
        {run}; echo "exit code $?"
        cp -r {small}/out {tmp_path}/kept
    """
    done = subprocess.run([*NAMESPACE, "sh", "-c", script], capture_output=True, text=True, env=OPEN, check=False)
    said = done.stdout + done.stderr
    assert re.findall("exit code .|partial", done.stdout) == ["exit code 1", "exit code 0"], said
    assert "16 rows: failed one after the other in encode" in said
    assert "No space left on device); make room" in said
    rows = output_rows(tmp_path / "kept")
    assert sorted((row["id"], row["status"]) for row in rows) == sorted((f"c{n}", "success") for n in range(20))
