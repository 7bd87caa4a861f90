"""The image's recipe, as far as it can be read; `docker build` itself needs a daemon and gigabytes."""

import re
import tomllib
from fnmatch import fnmatch

from evs_batch.spec.version import VERSION
from tests.conftest import ROOT

DOCKERFILE = (ROOT / "cluster" / "Dockerfile").read_text()
STEPS = re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def test_everything_is_installed_by_the_lock():
    installs = [value for step, value in STEPS if step == "RUN" and "pip install" in value]
    assert len(installs) == 2
    assert all("-c constraints.txt" in install for install in installs)
    pinned = dict(re.findall(r"^([\w-]+)==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert {"torch", "diffusers", "transformers", "ray", "gcsfs", "google-api-python-client"} <= pinned.keys()


def test_what_the_image_needs_is_not_left_out():
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = ["constraints.txt", "pyproject.toml", "README.md", "LICENSE", "cluster/start.sh", "evs_batch/cli/main.py",
              "pipelines/enhance.toml", "manifests/demo.parquet", "bench/media.json"]  # fmt: skip
    for name in needed:
        assert (ROOT / name).exists()
        assert not [rule for rule in ignored if fnmatch(name, rule) or name.startswith(f"{rule}/")]
    assert {".git", ".venv"} <= set(ignored)


def test_it_has_what_the_clusters_expect_of_it():
    """Ray's launcher asks the image's environment for the home, and reaches new nodes from the head by ssh."""
    environment = " ".join(value for step, value in STEPS if step == "ENV")
    assert "HOME=/home/ray " in environment
    assert "video" in re.findall(r"NVIDIA_DRIVER_CAPABILITIES=(\S+)", environment)[0].split(",")
    packages = next(value for step, value in STEPS if step == "RUN" and "apt-get install" in value).split()
    assert {"bash", "g++", "openssh-client", "rsync", "wget"} <= set(packages)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (chosen,) = re.findall(r'"\.\[([\w,]+)\]"', DOCKERFILE)
    assert {"boto3", "google-api-python-client"} <= set(extras["clouds"])
    assert {"clouds", "gcs", "s3", "sftp"} == set(chosen.split(",")) <= extras.keys()


def test_it_runs_as_nobody_special_under_the_name_of_this_release():
    assert ("USER", "ray") in STEPS
    assert f"REGISTRY/evs-batch:{VERSION} " in DOCKERFILE
