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


def rows_of(*uris: str) -> bytes:
    return table([{"id": f"clip{number}", "uri": uri, "prompt": "a red star"} for number, uri in enumerate(uris)])


def test_a_run_from_s3_and_http_to_s3_shows_its_secrets_nowhere(
    head: Head, evs_batch: Callable[..., Any], s3: S3, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", s3.endpoint)
    with web_server(CLIP.parent) as web:
        rows = rows_of(str(CLIP), "clips/a.mp4", "s3://box/in/clips/a.mp4", f"{web}/short.mp4", f"{web}/none.mp4")
        s3.client().put_object(Bucket="box", Key="in/rows.parquet", Body=rows)
        s3.client().put_object(Bucket="box", Key="in/clips/a.mp4", Body=CLIP.read_bytes())
        options = ["s3.key=$AWS_ACCESS_KEY_ID", "s3.secret=$AWS_SECRET_ACCESS_KEY", f"s3.endpoint_url={s3.endpoint}"]
        command = ["run", "s3://box/in/rows.parquet", "--recipe", "identity", "--output", "s3://box/out", "--plain"]
        command += ["--set", f"runtime.storage={options}", "--max-failed-fraction", "0.2"]
        ran = evs_batch(*command)
        there = {key: data for key, data in s3.objects("box").items() if key.startswith("out/")}
        again = evs_batch(*command)
    assert "clip4 failed in probe" in ran.stderr
    assert "5 of them from an earlier run" in again.stderr
    assert there == {key: data for key, data in s3.objects("box").items() if key.startswith("out/")}
    status = evs_batch("status", "s3://box/out").stdout
    assert "5 of 5 rows" in status
    _check_far_output(there)
    logs = {str(path): path.read_bytes() for path in head.folder.rglob("logs/**/*") if path.is_file()}
    assert any(b":actor_name:" in log for log in logs.values()), "logs of our workers"
    said = {"stdout": ran.stdout.encode(), "stderr": ran.stderr.encode(), "status": status.encode()}
    assert [name for name, data in {**there, **logs, **said}.items() if S3_SECRET.encode() in data] == []


def _check_far_output(there: dict[str, bytes]) -> None:
    """The output of five rows on S3, the last of them failed: whole, and with nothing besides."""
    videos = {f"out/videos/clip{number}.mp4" for number in range(4)}
    records = {f"out/_run/{name}.json" for name in ("run", "done", "stats", "trace")}
    parts = {key for key in there if re.fullmatch(r"out/manifest/[a-z]+-[0-9a-f-]+\.parquet", key)}
    assert there.keys() == videos | records | parts | {"out/report.html"}
    rows = [row for key in sorted(parts) for row in pq.read_table(BytesIO(there[key])).to_pylist()]
    assert sorted((row["id"], row["status"], row["error_type"]) for row in rows) == [
        *((f"clip{number}", "success", None) for number in range(4)), ("clip4", "failed", "MediaError"),
    ]  # fmt: skip
    for row in rows[:4]:
        if row["status"] == "success":
            assert hashlib.sha256(there[f"out/videos/{row['id']}.mp4"]).hexdigest() == row["output_sha256"]


def test_two_shards_at_once_from_and_to_sftp(head: Head, make_manifest: Callable[..., Path], tmp_path: Path):
    with sftp_server(tmp_path) as sftp:
        uris = [str(CLIP), *[f"sftp://127.0.0.1{CLIP}"] * 3]
        manifest = make_manifest(pq.read_table(BytesIO(rows_of(*uris))).to_pylist())
        command = ["run", f"sftp://127.0.0.1{manifest}", "--recipe", "identity", "--address", head.address]
        command += ["--set", f"runtime.storage={sftp.options}", "--output", f"sftp://127.0.0.1{tmp_path}/far/out"]
        halves = [
            subprocess.Popen([str(BIN / "evs-batch"), *command, "--shard", f"{number}/2"], env=environment())
            for number in (1, 2)
        ]
        assert [half.wait(200) for half in halves] == [0, 0]
    rows = output_rows(tmp_path / "far" / "out")
    assert sorted((row["id"], row["status"]) for row in rows) == [(f"clip{n}", "success") for n in range(4)]
    assert len({row["output_sha256"] for row in rows}) == 1
    assert sorted(path.name for path in (tmp_path / "far/out/videos").iterdir()) == [f"clip{n}.mp4" for n in range(4)]


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
