"""Files of Ray's cluster launcher, read by Ray itself; what one hands to a cloud, by the cloud's own client."""

import subprocess
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

from evs_batch.spec.version import VERSION
from tests.conftest import ROOT

CLOUDS = ("aws", "gcp")


def read(cloud: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster" / f"{cloud}.yaml").read_text())


@pytest.mark.parametrize("cloud", CLOUDS)
def test_ray_takes_it(cloud):
    validate_config(prepare_config(read(cloud)))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_ray_would_refuse_a_slip(cloud):
    with pytest.raises(Exception, match="max_wokers"):
        validate_config(prepare_config({**read(cloud), "max_wokers": 3}))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nobody_gets_in_without_the_token_and_gpus_come_on_demand(cloud):
    made = read(cloud)
    starts = [made["head_start_ray_commands"][-1], made["worker_start_ray_commands"][-1]]
    assert all("/evs-batch/cluster/start.sh" in start for start in starts), "that is where the token is asked for"
    assert made["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert made["worker_setup_commands"] == ["evs-batch models fetch EP lightningEP"], "a run never goes online"
    assert made["docker"]["image"].endswith(f":{VERSION}")
    assert made["available_node_types"]["gpu"]["min_workers"] == 0
    assert made["available_node_types"]["gpu"]["resources"]["GPU"] == 1


@pytest.mark.parametrize("kind", ["head", "gpu"])
def test_aws_takes_the_machines(kind):
    """The parameters of EC2's RunInstances, by the service's own description."""
    service = botocore.session.get_session().get_service_model("ec2")
    shape = service.operation_model("RunInstances").input_shape
    config = {**read("aws")["available_node_types"][kind]["node_config"], "MinCount": 1, "MaxCount": 1}
    assert ParamValidator().validate(config, shape).generate_report() == ""
    slip = {**config, "InstanceMarketOption": {}}
    assert "InstanceMarketOption" in ParamValidator().validate(slip, shape).generate_report()


@pytest.mark.parametrize("script", ["start.sh", "submit.sh", "slurm.sh"])
def test_shells_take_the_scripts(script):
    subprocess.run(["bash", "-n", ROOT / "cluster" / script], check=True)
