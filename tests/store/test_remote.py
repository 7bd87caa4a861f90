"""Storages out of the house, on real servers of their protocols."""

import os
import secrets
import signal
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest
from paramiko import SFTPFile

from evs_batch.media.probe import probe
from evs_batch.spec.errors import ManifestError, MediaError, OutputError, StorageError
from evs_batch.store import ledger, making, reading, storage
from tests.servers import S3, Sftp

pytestmark = pytest.mark.usefixtures("settings")
BIG = secrets.token_bytes(60_000_000)
HUGE = BIG * 2  # more than s3fs puts in one request
SMALL = secrets.token_bytes(1000)


def put(tmp_path: Path, data: bytes, uri: str) -> None:
    (tmp_path / "local").write_bytes(data)
    storage.publish(tmp_path / "local", uri)


def test_files_come_and_go(base: str, tmp_path: Path):
    put(tmp_path, SMALL, f"{base}/a.mp4")
    put(tmp_path, SMALL[:500], f"{base}/a.mp4")
    storage.write_bytes(b"{}", f"{base}/b.json")
    assert storage.sizes(base) == {"a.mp4": 500, "b.json": 2}
    with storage.open_input(f"{base}/a.mp4") as file:
        file.seek(490)
        assert file.read() == SMALL[490:500]
    before = storage.checksum(f"{base}/a.mp4")
    put(tmp_path, SMALL, f"{base}/a.mp4")
    assert storage.checksum(f"{base}/a.mp4") != before
    assert storage.read_bytes(f"{base}/b.json") == b"{}"
    assert storage.read_bytes(f"{base}/c.json") is None
    storage.remove_file(f"{base}/b.json")
    storage.remove_file(f"{base}/b.json")
    assert storage.names(base) == {"a.mp4"}
    storage.remove_folder(base)
    assert storage.names(base) == set()
    with pytest.raises(MediaError, match="cannot be opened"):
        storage.open_input(f"{base}/a.mp4")


def test_a_manifest_is_made_of_what_lies_there(base: str, tmp_path: Path):
    put(tmp_path, b"", f"{base}/videos/deep/a star.mp4")
    put(tmp_path, b"a red star", f"{base}/videos/deep/a star.txt")
    for source in (f"{base}/videos", f"{base}/videos/**/*.mp4"):
        assert making.create([source], making.Making(), f"{base}/made.parquet") == 1
        row = next(iter(reading.open_manifest(f"{base}/made.parquet", 0)))
        assert row.clip is not None
        assert (row.clip.uri, row.clip.prompt) == (f"{base}/videos/deep/a star.mp4", "a red star")


def test_a_ledger_and_its_manifest_can_lie_there(base: str, make_manifest: Any):
    rows = [{"id": f"row{number}", "uri": "a.mp4", "prompt": "a star"} for number in range(3)]
    storage.write_bytes(make_manifest(rows).read_bytes(), f"{base}/in/videos.parquet")
    source = reading.open_manifest(f"{base}/in/videos.parquet", seed=0)
    assert source.files == reading.open_manifest(f"{base}/in", seed=0).files == (f"{base}/in/videos.parquet",)
    assert next(iter(source)).clip.uri == f"{base}/in/a.mp4"  # type: ignore[union-attr]
    with pytest.raises(ManifestError, match="does not exist"):
        reading.open_manifest(f"{base}/none.parquet", seed=0)

    def opened() -> ledger.Ledger:
        return ledger.open_ledger(f"{base}/out", {"recipe": {"seed": 1}}, reading.passed_through(source.schema))

    book = opened()
    for row in rows:
        book.commit({**row, "status": "failed" if row["id"] == "row1" else "success"})
        book.flush(force=True)
    book.close()
    ledger.forget_failed(f"{base}/out", {"row0", "row1"})
    assert [row["id"] for row in ledger.committed(f"{base}/out", ["id"])] == ["row0", "row2"]
    opened()
    with pytest.raises(OutputError, match=r"recipe.seed: 1 -> 2"):
        ledger.open_ledger(f"{base}/out", {"recipe": {"seed": 2}}, [])


def test_a_second_driver_is_refused_there(base: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evs_batch.store.lease.RENEW_S", 0.4)
    monkeypatch.setattr("evs_batch.store.lease.SETTLE_S", 0.1)
    with ledger.exclusive(base, (1, 2)):
        with pytest.raises(OutputError, match="is in use by a driver on"), ledger.exclusive(base, (1, 2)):
            pass
        with ledger.exclusive(base, (2, 2)):
            pass
    assert storage.names(f"{base}/_run") == set()


def test_s3_that_is_too_busy_or_breaks_off_is_asked_again(s3: S3, tmp_path: Path):
    s3.troubles += [("PUT", "503 Busy SlowDown"), ("PUT", "reset"), ("GET", "500 Broken InternalError")]
    put(tmp_path, SMALL, "s3://box/a.mp4")
    with storage.open_input("s3://box/a.mp4") as file:
        assert file.read() == SMALL
    assert not s3.troubles


def test_an_upload_that_breaks_off_for_good_leaves_nothing(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evs_batch.store.patience.FIRST_PAUSE_S", 0.01)
    put(tmp_path, HUGE, "s3://box/whole.mp4")
    s3.requests.clear()
    s3.troubles += [("PUT", ""), ("PUT", "403 Forbidden ExpiredToken")]
    with pytest.raises(StorageError, match=r"s3://box/half.mp4: cannot be used \(PermissionError: said ExpiredToken\)"):
        put(tmp_path, HUGE, "s3://box/half.mp4")
    assert s3.requests.count("PUT") > 1, "in several requests"
    assert s3.objects("box") == {"whole.mp4": HUGE}
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket="box")


@pytest.mark.parametrize(("trouble", "asked"), [("403 Forbidden AccessDenied", 2), ("400 Bad ExpiredToken", 99)])
def test_s3_that_refuses_is_not_asked_for_long(s3: S3, trouble: str, asked: int, tmp_path: Path, monkeypatch):
    """A HEAD request is answered without the code, so that a 400 may be anything."""
    monkeypatch.setattr("evs_batch.store.patience.FIRST_PAUSE_S", 0.01)
    put(tmp_path, SMALL, "s3://box/a.mp4")
    s3.troubles += [("PUT", trouble), *[("HEAD GET", trouble)] * 99]
    s3.requests.clear()
    with pytest.raises(StorageError, match="check rights, credentials and space"):
        put(tmp_path, SMALL[:1], "s3://box/a.mp4")
    with pytest.raises(StorageError, match="cannot be used"):
        storage.open_input("s3://box/a.mp4").read()
    assert s3.requests.count("PUT") == 1
    assert len(s3.requests) <= 1 + asked
    s3.troubles.clear()
    assert s3.objects("box") == {"a.mp4": SMALL}


def test_a_bucket_for_reading_only_and_one_that_is_not_there(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path, SMALL, "s3://box/a.mp4")
    iam = s3.client("iam")
    iam.create_user(UserName="reader")
    rule = '{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}'
    policy = f'{{"Version": "2012-10-17", "Statement": [{rule}]}}'
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setattr("moto.core.responses.ActionAuthenticatorMixin.request_count", 0)
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    with storage.open_input("s3://box/a.mp4") as file:
        assert file.read() == SMALL
    with pytest.raises(StorageError, match="Access Denied"):
        put(tmp_path, SMALL, "s3://box/b.mp4")
    with pytest.raises(OutputError, match="cannot be used"), ledger.exclusive("s3://box/out", (1, 1)):
        pass
    with pytest.raises(StorageError):
        put(tmp_path, SMALL, "s3://nobody/b.mp4")


def test_a_connection_over_ssh_that_is_cut_is_made_again(sftp: Sftp, tmp_path: Path):
    uri = f"sftp://127.0.0.1{tmp_path}/box/a.mp4"
    put(tmp_path, BIG[:1_000_000], uri)
    with storage.open_input(uri) as file:
        assert file.read(1000) == BIG[:1000]
        sftp.cut()
        assert file.read() == BIG[1000:1_000_000]
    sftp.cut()
    put(tmp_path, SMALL, uri)
    assert (tmp_path / "box" / "a.mp4").read_bytes() == SMALL
    assert storage.names(storage.parent(uri)) == {"a.mp4"}


def test_a_server_that_says_nothing_any_more_is_left_for_a_new_connection(sftp: Sftp, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("evs_batch.store.patience.SILENCE_S", 2.0)
    uri = f"sftp://127.0.0.1{tmp_path}/a.mp4"
    put(tmp_path, SMALL, uri)
    frozen = sftp.freeze()
    try:
        assert storage.read_bytes(uri) == SMALL
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the archive is closed on a dead line
def test_a_connection_inside_of_another_address_is_made_again(sftp: Sftp, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.mp4", SMALL)
    uri = f"zip://a.mp4::sftp://127.0.0.1{tmp_path}/a.zip"
    assert storage.read_bytes(uri) == SMALL
    sftp.cut()
    assert storage.read_bytes(uri) == SMALL


def test_what_others_write_to_s3_is_seen_although_the_folder_was_looked_at(s3: S3):
    s3.client().put_object(Bucket="box", Key="parts/0.mp4", Body=b"0")
    assert storage.names("s3://box/parts") == {"0.mp4"}
    s3.client().put_object(Bucket="box", Key="parts/1.mp4", Body=b"1")
    with storage.open_input("s3://box/parts/1.mp4") as file:
        assert file.read() == b"1"
    assert storage.names("s3://box/parts") == {"0.mp4", "1.mp4"}


def test_a_file_that_was_only_read_is_the_same_file(sftp: Sftp, tmp_path: Path):
    uri = f"sftp://127.0.0.1{tmp_path}/a.mp4"
    put(tmp_path, SMALL, uri)
    before = storage.checksum(uri)
    os.utime(tmp_path / "a.mp4", ns=(10**18, (tmp_path / "a.mp4").stat().st_mtime_ns))
    assert storage.checksum(uri) == before
    os.utime(tmp_path / "a.mp4", ns=(10**18, 10**18))
    assert storage.checksum(uri) != before


def test_who_is_not_let_in_over_ssh_is_told_at_once(sftp: Sftp, tmp_path: Path):
    storage.configure([f"sftp.key_filename={tmp_path}/ssh/host"])
    with pytest.raises(StorageError, match="AuthenticationException"):
        storage.open_input(f"sftp://127.0.0.1{tmp_path}/a.mp4")


def test_a_server_that_gives_whole_files_only_is_read_once(web: str, tmp_path: Path):
    (tmp_path / "web" / "big").write_bytes(BIG)
    with storage.open_input(f"{web}/big") as file:
        file.seek(50_000_000)
        assert file.read(1000) == BIG[50_000_000:][:1000]
        file.seek(0)
        assert file.read() == BIG


def test_videos_and_manifests_come_over_http(web: str, tmp_path: Path, make_video: Any):
    make_video("web/a.mp4")
    (tmp_path / "web" / "rows.csv").write_text("uri,prompt\na.mp4,a star\nb.mp4,a moon\n")
    clips = [row.clip for row in reading.open_manifest(f"{web}/rows.csv", seed=0)]
    assert [clip.uri for clip in clips if clip] == [f"{web}/a.mp4", f"{web}/b.mp4"]
    with storage.open_input(f"{web}/a.mp4") as file:
        assert probe(file).frames == 6
    with pytest.raises(MediaError, match="cannot be opened"):
        storage.open_input(f"{web}/b.mp4")
    with pytest.raises(ManifestError, match="does not exist"):
        reading.open_manifest(f"{web}/none.csv", seed=0)
    with pytest.raises(StorageError, match="Unsupported method"):
        storage.write_bytes(b"x", f"{web}/x")


def test_a_web_server_in_trouble_is_no_fault_of_a_video(s3: S3):
    """Over HTTP a missing file and a broken server look alike at first."""
    s3.client().put_object(Bucket="box", Key="a.mp4", Body=SMALL, ACL="public-read")
    s3.troubles += [("HEAD", "503 Busy X"), ("GET", "503 Busy X"), ("HEAD", "reset"), ("GET", "reset")]
    with storage.open_input(f"{s3.endpoint}/box/a.mp4") as file:
        assert file.read() == SMALL
    assert not s3.troubles


def opened(uri: str) -> bytes:
    with storage.open_input(uri) as file:
        return file.read()


@pytest.mark.parametrize("read", [opened, storage.read_bytes])
def test_a_connection_that_breaks_off_is_not_the_end_of_a_file(read, sftp: Sftp, tmp_path: Path, monkeypatch):
    """Paramiko takes the one for the other, and gives what came so far."""
    uri, whole, right, breaks = (
        f"sftp://127.0.0.1{tmp_path}/box/a",
        BIG[:1_000_000],
        SFTPFile._read,
        iter([False, True]),
    )
    put(tmp_path, whole, uri)

    def breaking_off(file: SFTPFile, size: int) -> bytes:
        if next(breaks, False):
            raise EOFError
        return right(file, size)

    monkeypatch.setattr(SFTPFile, "_read", breaking_off)
    assert read(uri) == whole
