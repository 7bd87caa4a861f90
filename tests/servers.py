"""Real servers of storages on this machine: S3 over HTTP (moto's), SFTP (OpenSSH's), and plain HTTP."""

import contextlib
import functools
import getpass
import http.server
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

S3_SECRET = "canary-5f1d9a"  # moto takes any
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": S3_SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_GIVEN = set[int]()


def free_port() -> int:
    """Below those that connections are given by the system, and another one each time."""
    while True:
        port = SystemRandom().randrange(22_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port


@dataclass
class S3:
    """An S3 endpoint, and what comes next there: for methods either nothing, 'reset', or a status and a code."""

    endpoint: str = ""
    troubles: list[tuple[str, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _app: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))

    def __call__(self, environ: dict[str, Any], respond: Any) -> Any:
        method = environ["REQUEST_METHOD"]
        self.requests.append(method)
        if not self.troubles or method not in self.troubles[0][0]:
            return self._app(environ, respond)
        what = self.troubles.pop(0)[1]
        if not what:
            return self._app(environ, respond)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if what == "reset":
            environ["wsgi.input"].read(length // 2)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        else:
            environ["wsgi.input"].read(length)
        status, _, code = what.rpartition(" ")
        respond(status or "500 Broken", [("Content-Type", "application/xml")])
        said = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>said {code}</Message></Error>"
        return [] if method == "HEAD" else [said.encode()]

    def client(self, service: str = "s3") -> Any:
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="tester",
            aws_secret_access_key=S3_SECRET,
        )  # fmt: skip

    def objects(self, bucket: str) -> dict[str, bytes]:
        s3 = self.client()
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {item["Key"]: s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in found}


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    s3 = S3()
    server = make_server("127.0.0.1", 0, s3, threaded=True)
    s3.endpoint = f"http://127.0.0.1:{server.port}"
    with _served(server):
        urlopen(Request(f"{s3.endpoint}/moto-api/reset", method="POST")).close()
        yield s3


@contextlib.contextmanager
def web_server(folder: Path, pause: Callable[[], Any] = lambda: None) -> Iterator[str]:
    """A server of files that knows no ranges; gives its address. With a pause before each answer runs last longer."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def send_head(self) -> Any:
            pause()
            return super().send_head()

        def copyfile(self, source: Any, outputfile: Any) -> None:
            with contextlib.suppress(ConnectionError):
                super().copyfile(source, outputfile)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    with _served(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextlib.contextmanager
def _served(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Sftp:
    """A real sshd, whose host key and user key lie in a folder."""

    folder: Path
    port: int
    process: int

    @property
    def options(self) -> list[str]:
        return [f"sftp.port={self.port}", f"sftp.username={getpass.getuser()}", f"sftp.key_filename={self.folder}/user"]

    def cut(self) -> None:
        """End all sessions, as a network that breaks down."""
        subprocess.run(["pkill", "-P", str(self.process)], check=True)

    def freeze(self) -> list[int]:
        """Let all sessions say nothing more, as behind a firewall that has lost them; gives their processes."""
        found = subprocess.run(["pgrep", "-P", str(self.process)], check=True, capture_output=True, text=True)
        pids = [int(pid) for pid in found.stdout.split()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids


@contextlib.contextmanager
def sftp_server(folder: Path) -> Iterator[Sftp]:
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
    if not sshd:
        pytest.skip("no sshd here: apt-get install openssh-server")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with contextlib.suppress(OSError):
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    lines = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": folder / "user.pub", "StrictModes": "no", "Subsystem": "sftp internal-sftp",
        "MaxStartups": 100,
    }  # fmt: skip
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None, "sshd ended"
            assert time.monotonic() < until_s, "sshd does not come up"
            time.sleep(0.05)
        yield Sftp(folder, port, process.pid)
    finally:
        process.terminate()
        process.wait()
