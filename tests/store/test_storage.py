import errno
import io
from pathlib import Path
from typing import Any

import fsspec
import pytest

from evs_batch.spec.errors import MediaError, RecipeError, StorageError
from evs_batch.store import storage
from evs_batch.store.patience import PatientFile, patiently


def test_a_file_is_published_whole_and_leaves_nothing_beside(tmp_path: Path):
    (tmp_path / "local").write_bytes(b"data")
    target = tmp_path / "out" / "videos" / "a.mp4"
    storage.publish(tmp_path / "local", str(target))
    assert target.read_bytes() == b"data"
    assert [path.name for path in target.parent.iterdir()] == ["a.mp4"]


def test_publishing_works_on_other_filesystems(tmp_path: Path):
    (tmp_path / "local").write_bytes(b"data")
    storage.publish(tmp_path / "local", "memory://bucket/a.mp4")
    assert fsspec.filesystem("memory").cat_file("/bucket/a.mp4") == b"data"


@pytest.mark.parametrize(
    ("uri", "resolved"),
    [("a/b.mp4", "/m/a/b.mp4"), ("/x/b.mp4", "/x/b.mp4"), ("s3://b/k.mp4", "s3://b/k.mp4")],
)
def test_relative_paths_start_at_the_manifest(uri: str, resolved: str):
    assert storage.resolve(uri, "/m/") == resolved


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("/no/such/file.mp4", "cannot be opened"),
        ("/", "is a folder"),
        ("/dev/null", "a device"),
        ("zzz://a", "cannot be opened"),
    ],
)
def test_what_cannot_be_opened_is_named(uri: str, said: str):
    with pytest.raises(MediaError, match=said):
        storage.open_input(uri)


class Flaky:
    """Fails so many times, each time in its own way, and then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self, fs: object, path: str) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


class LibraryError(Exception):
    """Storages have libraries with errors of their own."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def test_what_may_pass_is_tried_again_with_longer_and_longer_pauses(pauses: list[float]):
    flaky = Flaky(ConnectionResetError(), TimeoutError(), LibraryError(503), LibraryError(429))
    assert patiently("memory://bucket/a", flaky) == "done"
    assert all(0.25 * 2**turn <= pause <= 0.75 * 2**turn for turn, pause in enumerate(pauses))
    assert len(pauses) == 4


def test_a_storage_out_of_reach_is_named_in_the_end(pauses: list[float]):
    with pytest.raises(StorageError, match=r"memory://bucket/a: cannot be used \(ConnectionResetError\)"):
        patiently("memory://bucket/a", Flaky(*[ConnectionResetError()] * 5))


@pytest.mark.parametrize("error", [PermissionError("no"), LibraryError(403), ImportError("install s3fs")])
def test_who_is_refused_does_not_insist(error: Exception, pauses: list[float]):
    with pytest.raises(StorageError):
        patiently("memory://bucket/a", Flaky(error))
    assert not pauses


def test_a_file_that_is_not_there_is_no_fault_of_its_storage(pauses: list[float]):
    with pytest.raises(FileNotFoundError):
        patiently("memory://bucket/a", Flaky(FileNotFoundError()))
    assert not pauses


class Breaking:
    """A filesystem whose files lose their connection so many times."""

    def __init__(self, breaks: int) -> None:
        self.breaks, self.opened = breaks, 0

    def open(self, path: str, mode: str) -> io.BytesIO:
        self.opened += 1
        fs = self

        class File(io.BytesIO):
            size = 10

            def read(self, size: int | None = -1) -> bytes:
                if self.tell() > 2 and fs.breaks:
                    fs.breaks -= 1
                    self.close()
                    raise ConnectionResetError
                return super().read(size)

        return File(b"0123456789")


def test_a_connection_that_is_lost_while_reading_is_opened_again_where_it_was(pauses: list[float], monkeypatch):
    fs = Breaking(2)
    monkeypatch.setattr("evs_batch.store.patience.url_to_fs", lambda _: (fs, "/a"))
    with PatientFile("memory://bucket/a") as file:
        assert [file.read(3), file.read(3), file.read(9)] == [b"012", b"345", b"6789"]
        assert (file.seek(-4, io.SEEK_END), file.read(2), file.tell()) == (6, b"67", 8)
    assert len(pauses) == 2
    assert fs.opened == 3


def test_elsewhere_a_file_takes_its_name_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses):
    """On storages like SFTP a reader sees a file grow."""
    fs, seen = fsspec.filesystem("memory"), list[str]()
    (tmp_path / "local").write_bytes(b"data")
    put = fs.put_file

    def watched(local: str, remote: str) -> None:
        seen.append(remote)
        put(local, remote)
        if len(seen) == 1:
            raise ConnectionResetError

    monkeypatch.setattr(storage, "WHOLE_BY_ITSELF", set())
    monkeypatch.setattr(type(fs), "put_file", lambda _, local, remote: watched(local, remote))
    storage.publish(tmp_path / "local", "memory://box/a.mp4")
    assert fs.cat_file("/box/a.mp4") == b"data"
    assert fs.ls("/box", detail=False) == ["/box/a.mp4"]
    assert len(seen) == 2
    assert seen[0].endswith(".partial")


def test_a_name_that_was_given_although_the_answer_was_lost_is_given(tmp_path: Path, monkeypatch: Any, pauses):
    fs = fsspec.filesystem("memory")
    move, calls = fs.mv, list[str]()

    def unheard(_: object, path: str, target: str) -> None:
        calls.append(path)
        if not fs.exists(path):
            raise FileNotFoundError(path)
        move(path, target)
        raise ConnectionResetError

    monkeypatch.setattr(storage, "WHOLE_BY_ITSELF", set())
    monkeypatch.setattr(type(fs), "mv", unheard)
    storage.write_bytes(b"data", "memory://box2/a.mp4")
    assert fs.ls("/box2", detail=False) == ["/box2/a.mp4"]
    assert len(calls) == 2


def test_a_full_disk_is_not_the_fault_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "local").write_bytes(b"data")
    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(StorageError, match=r"cannot be written .*No space left.*make room"):
        storage.publish(tmp_path / "local", str(tmp_path / "out.mp4"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["local"], "nothing is left of it"


def test_options_of_storages_are_set_and_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fsspec.config, "conf", {})
    monkeypatch.setenv("CANARY", "sesame")
    storage.configure(["s3.endpoint_url=http://host:9000", "s3.anon=true", "sftp.password=$CANARY", "sftp.port=2222"])
    assert fsspec.config.conf == {
        "s3": {"endpoint_url": "http://host:9000", "anon": True}, "sftp": {"password": "sesame", "port": 2222},
    }  # fmt: skip
    with pytest.raises(RecipeError, match=r"sftp.password: is a secret; write sftp.password=\$NAME"):
        storage.configure(["sftp.password=sesame"])
    with pytest.raises(RecipeError, match="is a secret"):
        storage.configure(['s3.client_kwargs={"aws_secret_access_key": "sesame"}'])
    with pytest.raises(RecipeError, match="is not in the environment; set NOWHERE"):
        storage.configure(["sftp.password=$NOWHERE"])


def test_an_absent_small_file_is_none(tmp_path: Path):
    assert storage.read_bytes(str(tmp_path / "none")) is None
    storage.write_bytes(b"x", str(tmp_path / "deep" / "file"))
    assert storage.read_bytes(str(tmp_path / "deep" / "file")) == b"x"


def test_a_folder_that_cannot_be_removed_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "0.mp4").write_bytes(b"x")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError("not yours")

    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.local.LocalFileSystem.rm", refuse)
        storage.remove_folder(str(tmp_path / "parts"))
    assert "cannot be removed (not yours)" in caplog.text
    storage.remove_folder(str(tmp_path / "parts"))
    assert not (tmp_path / "parts").exists()
    storage.remove_folder(str(tmp_path / "parts"))
