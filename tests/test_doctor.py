"""What is wrong with a machine, and how it is mended."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from evs_batch import doctor
from evs_batch.cli.main import app
from evs_batch.doctor import Asked, Finding
from evs_batch.store.recipes import load_recipe
from tests.servers import S3_ENVIRONMENT, s3_server


def examined(asked: Asked = Asked()) -> dict[str, Finding]:
    return {finding.what: finding for finding in doctor.examine(asked)}


def test_this_machine_is_well():
    found = examined()
    assert not [finding for finding in found.values() if finding.state == "bad"], found
    looked = {
        "Python",
        "torch",
        "Ray",
        "Ray token",
        "memory",
        "/dev/shm",
        "disk",
        "ffmpeg",
        "PyAV",
        "model cache",
        "storages",
    }
    assert looked <= set(found)


def test_a_driver_that_torch_does_not_use_is_bad(monkeypatch):
    monkeypatch.setattr(doctor, "_driver", lambda: "NVIDIA 550.54")
    torch = examined()["torch"]
    if torch.state == "ok":
        pytest.skip("this machine has a GPU")
    assert (torch.state, torch.mend.split(" (")[0]) == ("bad", "install a torch build for this driver's CUDA")


@pytest.mark.parametrize(("variables", "found"), [({}, "none found"), ({"AWS_PROFILE": "me"}, "from AWS_PROFILE")])
def test_where_credentials_come_from_is_said(variables, found, monkeypatch, tmp_path):
    for name in doctor.CREDENTIALS["s3"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    finding = examined()["s3 credentials"]
    assert finding.found == found
    assert finding.state == ("ok" if variables else "note")
    assert ("AWS_ACCESS_KEY_ID" in finding.mend) == (not variables)


@pytest.mark.parametrize(
    ("check", "patched", "value", "what", "mend"),
    [
        ("_python", "sys.version_info", (3, 9, 0), "Python", "use 3.11 to 3.13"),
        ("_models", "os.access", lambda *_: False, "model cache", "set HF_HOME to a folder you may write to"),
    ],
)
def test_what_is_wrong_is_said_with_its_mend(check, patched, value, what, mend, monkeypatch):
    monkeypatch.setattr(f"evs_batch.doctor.{patched}", value)
    found = {finding.what: finding for finding in getattr(doctor, check)(Asked())}[what]
    assert found.state in ("bad", "note")
    assert mend in found.mend


def test_a_check_that_fails_itself_is_a_finding_and_the_others_go_on(monkeypatch):
    def _broken(asked: Asked) -> Iterator[Finding]:
        raise RuntimeError("no such thing")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (_broken, *doctor.CHECKS))
    assert examined()["broken"] == Finding(
        "broken", "bad", "cannot be looked at (RuntimeError: no such thing)", "see the message"
    )
    assert "ffmpeg" in examined()


@pytest.mark.parametrize(
    ("mode", "token", "state"), [("token", "", "bad"), ("token", "x", "ok"), ("", "x", "note"), ("", "", "ok")]
)
def test_the_token_of_a_cluster(monkeypatch, tmp_path, mode, token, state):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    assert examined()["Ray token"].state == state


def test_models_of_a_recipe_that_are_missing_are_named_with_the_way_to_get_them():
    found = examined(Asked(recipe=load_recipe("enhance")))
    assert found["emilianJR/epiCRealism"].mend == "get it: evs-batch models fetch EP"
    assert examined(Asked(recipe=load_recipe("demo")))["Ray"].state == "ok"


def test_sources_and_outputs_are_tried(make_video, tmp_path):
    video, output = str(make_video()), tmp_path / "out"
    found = examined(Asked(uris=(video, str(tmp_path), f"{tmp_path}/none.mp4"), output=str(output)))
    assert {uri: found[uri].state for uri in (video, str(tmp_path), f"{tmp_path}/none.mp4", str(output))} == {
        video: "ok", str(tmp_path): "ok", f"{tmp_path}/none.mp4": "bad", str(output): "ok",
    }  # fmt: skip
    assert not output.exists()
    assert examined(Asked(output=f"{video}/out"))[f"{video}/out"].state == "bad"


def test_buckets_that_are_not_there_or_take_nothing_are_bad(monkeypatch):
    monkeypatch.setattr(fsspec.config, "conf", {})
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with s3_server() as server:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        server.client().create_bucket(Bucket="box")
        recipe = load_recipe("identity", [f"runtime.storage=['s3.endpoint_url={server.endpoint}']"])
        found = {uri: examined(Asked(recipe=recipe, output=uri))[uri] for uri in ("s3://nowhere/out", "s3://box/out")}
        assert "Contents" not in server.client().list_objects_v2(Bucket="box")
    assert found["s3://nowhere/out"].state == "bad"
    assert found["s3://nowhere/out"].mend
    assert found["s3://box/out"].state == "ok"


def test_passwords_are_not_shown():
    found = "".join(f"{finding}" for finding in doctor.examine(Asked(uris=("sftp://me:secret@127.0.0.1:1/x",))))
    assert "***" in found
    assert "secret@" not in found


def test_a_driver_that_fails_is_what_is_bad(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "NVIDIA-SMI has failed" in examined()["torch"].found


def test_a_cluster_that_does_not_answer_is_bad():
    found = examined(Asked(address="127.0.0.1:1"))["cluster"]
    assert found.state == "bad"
    assert "ray status" in found.mend


def test_the_command_prints_findings_and_has_an_exit_code(tmp_path):
    good, bad = (
        CliRunner().invoke(app, ["doctor"]),
        CliRunner().invoke(app, ["doctor", f"{tmp_path}/none.mp4", "--json"]),
    )
    assert (good.exit_code, bad.exit_code) == (0, 1), good.output
    assert "ffmpeg" in good.output
    lines = [json.loads(line) for line in bad.stdout.splitlines()]
    assert [line["what"] for line in lines if line["state"] == "bad"] == [os.path.join(tmp_path, "none.mp4")]
    assert Path(lines[-1]["what"]).name == "none.mp4"
