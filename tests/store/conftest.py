"""Storages out of the house, on real servers of their protocols."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from evs_batch.store import storage
from tests.servers import S3, S3_ENVIRONMENT, Sftp, s3_server, sftp_server, web_server


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec.config, "conf", {})
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3(settings: None) -> Iterator[S3]:
    with s3_server() as server:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        storage.configure([f"s3.endpoint_url={server.endpoint}"])
        server.client().create_bucket(Bucket="box")
        yield server


@pytest.fixture
def sftp(settings: None, tmp_path: Path) -> Iterator[Sftp]:
    (tmp_path / "ssh").mkdir()
    with sftp_server(tmp_path / "ssh") as server:
        fsspec.get_filesystem_class("sftp").clear_instance_cache()
        storage.configure(server.options)
        yield server


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    with web_server(tmp_path / "web") as address:
        yield address


@pytest.fixture(params=["s3", "sftp"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on a server, as a URI."""
    request.getfixturevalue(request.param)
    return "s3://box/deep/er" if request.param == "s3" else f"sftp://127.0.0.1{tmp_path}/deep/er"
