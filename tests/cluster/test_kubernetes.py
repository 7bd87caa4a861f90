"""What `kubectl apply` gets: checked field by field against the schemas of KubeRay and Kubernetes."""

import json
import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from ray import __version__ as ray_version
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from evs_batch.runtime.cluster import place
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.version import VERSION
from tests.commands import complaint
from tests.conftest import ROOT

HERE, MANIFESTS = ROOT / "tests" / "cluster", ROOT / "cluster" / "kubernetes"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((MANIFESTS / name).read_text())


@pytest.fixture(scope="module")
def wrong() -> Callable[[dict[str, Any]], list[str]]:
    """What a server would refuse."""
    kuberay = yaml.safe_load((HERE / "kuberay.yaml").read_text())
    kubernetes = json.loads((HERE / "kubernetes.json").read_text())
    known = Registry().with_resources(
        (name, Resource(contents, DRAFT202012)) for name, contents in (("ray", kuberay), ("k8s", kubernetes))
    )

    def check(made: dict[str, Any]) -> list[str]:
        schema = {"$ref": f"ray#/$defs/{made['kind']}"}
        found = Draft202012Validator(schema, registry=known).iter_errors(made)
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]

    return check


@pytest.mark.parametrize("name", ["cluster.yaml", "job.yaml"])
def test_fields_are_those_of_the_schema(name, wrong):
    assert wrong(read(name)) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("spec", "backofLimit"), 3, "spec: .*'backofLimit' was unexpected"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplicas"), "8", "'8' is not of type 'integer'"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0, "0 is not of type 'string'"),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "on", "'on' is not one of"),
        (
            ("spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "gpus"),
            1,
            "template.spec.containers.0: .*'gpus' was unexpected",
        ),
    ],
)
def test_the_check_refuses_what_a_server_would(path, value, said, wrong):
    made = read("job.yaml")
    *way, last = path
    inner: Any = made
    for step in way:
        inner = inner[step]
    inner[last] = value
    (error,) = wrong(made)
    assert re.search(said, error)


def test_a_job_brings_the_cluster_that_can_stand_alone():
    assert read("job.yaml")["spec"]["rayClusterSpec"] == read("cluster.yaml")["spec"]


def test_versions_are_those_of_this_release():
    spec = read("cluster.yaml")["spec"]
    assert spec["rayVersion"] == ray_version
    images = {c["image"] for pod in pods(spec) for c in (*pod["containers"], *pod.get("initContainers", ()))}
    assert images == {f"REGISTRY/evs-batch:{VERSION}"}


def test_pods_run_as_nobody_special_and_say_what_they_need():
    for pod in pods(read("cluster.yaml")["spec"]):
        assert {"runAsNonRoot": True, "runAsUser": 1000}.items() <= pod["securityContext"].items()
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"] == {"allowPrivilegeEscalation": False}
        for container in pod["containers"]:
            needs = container["resources"]
            assert needs["requests"]["memory"] == needs["limits"]["memory"], "Ray sizes its object store by it"


def pods(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def test_the_monitor_finds_the_port_of_every_pod_and_knows_the_alarms():
    monitor, rules = yaml.safe_load_all((MANIFESTS / "monitor.yaml").read_text())
    assert rules["spec"] == yaml.safe_load((ROOT / "cluster" / "alerts.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for pod in pods(read("cluster.yaml")["spec"]):
        assert endpoint["port"] in {port["name"] for container in pod["containers"] for port in container["ports"]}


def test_models_are_fetched_before_a_worker_starts_and_where_it_looks_for_them():
    (worker,) = read("cluster.yaml")["spec"]["workerGroupSpecs"]
    pod = worker["template"]["spec"]
    (fetch,), (container,) = pod["initContainers"], pod["containers"]
    recipe = load_recipe("enhance")
    assert fetch["command"] == ["evs-batch", "models", "fetch", recipe.t2i.model, recipe.t2v.model]
    assert fetch["env"] == container["env"]
    assert fetch["volumeMounts"] == container["volumeMounts"]


def test_the_entrypoint_is_a_run_that_the_command_line_takes():
    entry = read("job.yaml")["spec"]["entrypoint"]
    assert complaint(shlex.split(entry)) == ""
    given = load_recipe("enhance", [word for option, word in pairwise(shlex.split(entry)) if option == "--set"])
    only_a_head = [{"memory": 24e9, "object_store_memory": 7e9}]
    assert place(given, only_a_head, None, None).device == "GPU", "it waits for the GPUs that it asks for"
    assert "--recepie" in complaint(shlex.split(entry.replace("--recipe", "--recepie")))
