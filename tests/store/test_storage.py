from pathlib import Path

import fsspec
import pytest

from evs_batch.spec.errors import MediaError
from evs_batch.store import storage


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
