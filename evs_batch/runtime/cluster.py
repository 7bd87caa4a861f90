"""Join or start Ray, and divide its resources among the roles."""

import logging
import math
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import ray
from ray._private.state import state
from ray.autoscaler.sdk import request_resources
from ray.exceptions import NodeDiedError

from evs_batch.models.needs import weights_bytes
from evs_batch.runtime.actors import Share
from evs_batch.scheduling.policy import Pool
from evs_batch.spec.errors import RunError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Role, path

Device = Literal["CPU", "GPU"]
log = logging.getLogger("evs_batch")
MODEL_ROLES: tuple[Role, ...] = ("t2i", "t2v")
KNOCK_S = 5.0
SMALL_BYTES, SMALL_WORKER_BYTES = 10**8, 2 * 10**9  # of weights, and of a worker with them at large pictures
OBJECT_STORE_SHARE = 0.6  # of the object store, for what is in flight; the rest is for copies on their way


def is_remote(address: str | None) -> bool:
    """Whether a run joins a cluster; else it starts a Ray of its own on this machine."""
    return bool(_where(address))


def _where(address: str | None) -> str | None:
    return address or os.environ.get("RAY_ADDRESS")


def connect(address: str | None) -> None:
    """Join the cluster at `address` (or in RAY_ADDRESS, as in a Ray job); without one start a local Ray."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Media workers never touch a GPU; this only silences Ray's warning that they could see it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A call whose worker is lost has several references, of which only the first is asked.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    where = _where(address)
    try:
        if where:
            _knock(where)
            ray.init(address=where, log_to_driver=False, logging_level=logging.WARNING)
        else:
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            f"Ray at {where or 'local'}",
            f"cannot be used ({error})",
            "check the address with `ray status`; if the cluster asks for a token, set RAY_AUTH_MODE=token "
            "(on the head's own machine, --address auto does it)",
        ) from error


def _knock(address: str) -> None:
    """See at once whether anybody listens at host:port; Ray itself tries for a minute."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


def nodes() -> list[Mapping[str, float]]:
    """What each node of the joined cluster has, by Ray's names; those that are drained do not count."""
    leaving = drained()
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in leaving]


def drained() -> Collection[str]:
    """Nodes that will leave soon: Ray starts nothing on them."""
    return state.get_draining_nodes().keys()


def disconnect() -> None:
    """Leave the cluster; a local one ends."""
    ray.shutdown()


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The pools, what each worker of them gets of a node, on which devices, and bytes for clips in flight."""

    device: Device
    pools: Mapping[str, Pool]
    shares: Mapping[str, Share]
    budget_bytes: int


def place(
    recipe: Recipe, nodes: Sequence[Mapping[str, float]], t2i: int | None, t2v: int | None, device: Device | None = None
) -> Placement:
    """Divide the GPUs of a cluster's nodes, or their cores where they have none and the recipe asks for none.

    Workers take both roles in turn, each on a GPU of its own; `t2i` and `t2v` ask for pools of so many workers instead.
    A run stays on the `device` that it began on. With GPUs that are still to come, one worker waits for them.
    """
    models: list[Role] = [role for role in MODEL_ROLES if any(stage.role == role for stage in path(recipe))]
    cpus, gpus = int(_total(nodes, "CPU")) or 1, _total(nodes, "GPU")
    asked, each = recipe.runtime, recipe.runtime.gpus_per_worker or 1.0
    device = device or ("GPU" if gpus or asked.gpus_per_worker else "CPU")
    most = int(gpus / each + 1e-9) if device == "GPU" else cpus
    few, small = max(len(models), len(nodes)), _small_on_cores(recipe, nodes) if device == "CPU" else 0
    usual = most if device == "GPU" else max(few, small)
    pools = _pools(recipe, models, max(1, min(most, asked.workers or usual)), t2i, t2v)
    workers = sum(pool.size for pool in pools.values())
    if device == "GPU" and gpus and workers * each > gpus + 1e-9:
        each = 1 / math.ceil(workers / gpus)  # equal shares of a whole GPU always fit, 2/3 would leave a rest
    share = Share(
        num_cpus=min(1.0, cpus / max(1, workers)),
        num_gpus=each if device == "GPU" else 0.0,
        threads=max(1, cpus // max(1, workers)),
        labels=dict(label.split("=", 1) for label in asked.labels),
        memory_bytes=SMALL_WORKER_BYTES if few < workers <= small else 0,
    )
    media = _media_pool(recipe, cpus, workers if device == "CPU" else 0)  # started first: models have something to do
    return Placement(
        device=device,
        pools={"media": media, **pools},
        shares={**dict.fromkeys(pools, share), "media": Share(num_cpus=0.0, num_gpus=0.0, threads=1)},
        budget_bytes=_budget_bytes(recipe, nodes, device),
    )


def _small_on_cores(recipe: Recipe, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many workers of small models, which gain little from threads: one for a core, 0 if the models are not small.

    A core is left where a node has more than two; no more than memory allows.
    """
    if weights_bytes(recipe) > SMALL_BYTES:
        return 0
    cores = (cpus - (cpus > 2) for cpus in (node.get("CPU", 0.0) for node in nodes))
    memories = (node.get("memory", math.inf) / SMALL_WORKER_BYTES for node in nodes)
    return sum(int(min(each)) for each in zip(cores, memories, strict=True))


def _pools(recipe: Recipe, models: Sequence[Role], fitting: int, t2i: int | None, t2v: int | None) -> dict[str, Pool]:
    """One pool whose workers take both roles, or the pools that are asked for."""
    if len(models) == len(MODEL_ROLES) and not (t2i or t2v):
        keeps = 1 if recipe.runtime.offload == "models" else 2
        return {"model": Pool(fitting, MODEL_ROLES, keeps)}
    rest = max(1, fitting - (t2i or 0) - (t2v or 0))
    return {role: Pool({"t2i": t2i, "t2v": t2v}[role] or rest, (role,)) for role in models}


def _media_pool(recipe: Recipe, cpus: int, models_on_cores: int) -> Pool:
    """Most workers that take the cores which models leave, so that they can be placed; started as models need them."""
    beside = min(-(-models_on_cores // 2), cpus // 2) if models_on_cores else cpus // 2
    return Pool(max(1, min(cpus, recipe.runtime.media_workers or beside)), ("media",))


def _total(nodes: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(node.get(name, 0.0) for node in nodes)


def _budget_bytes(recipe: Recipe, nodes: Sequence[Mapping[str, float]], device: Device) -> int:
    """Bytes in flight that no node has to spill: what is made lies where it is made.

    Models are spread by devices, media workers evenly. Of each node count what the recipe allows or its object store
    can hold.
    """
    devices, budgets = _total(nodes, device), list[float]()
    for node in nodes:
        share = max(1 / len(nodes), node.get(device, 0.0) / max(1e-9, devices))
        store_bytes = node.get("object_store_memory", math.inf) * OBJECT_STORE_SHARE
        budgets.append(min(recipe.runtime.memory_gb * 1e9, store_bytes) / share)
    return int(min(budgets, default=recipe.runtime.memory_gb * 1e9))


def node_gone(error: BaseException, node: str) -> bool:
    """Whether a worker is lost because its node left, was drained or died, and not by its own doing."""
    if isinstance(error, NodeDiedError) or getattr(error, "preempted", False):
        return True
    return any(found["NodeID"] == node and not found["Alive"] for found in ray.nodes())


def ask_autoscaler(recipe: Recipe, placement: Placement) -> None:
    """Ask for nodes that hold all the workers that a recipe wants; without an autoscaler nobody listens."""
    shares = [placement.shares[name] for name, pool in placement.pools.items() if "media" not in pool.roles]
    if recipe.runtime.workers and shares:
        if placement.device == "CPU" and not recipe.runtime.gpus_per_worker:
            log.warning("no GPU is here, so workers run on CPUs; runtime.gpus_per_worker=1 waits for GPUs that come")
        bundle = {"CPU": shares[0].num_cpus, "GPU": shares[0].num_gpus}
        request_resources(
            bundles=[{name: amount for name, amount in bundle.items() if amount}] * recipe.runtime.workers
        )


def release_autoscaler(recipe: Recipe) -> None:
    """Take back what `ask_autoscaler` asked for."""
    if recipe.runtime.workers:
        request_resources(bundles=[])


def why_not_placed(share: Share) -> str:
    """What a worker waits for that Ray has not started."""
    wanted = {"CPU": share.num_cpus, "GPU": share.num_gpus, "memory": share.memory_bytes}
    nodes = [node for node in ray.nodes() if node["Alive"]]
    fitting = [node for node in nodes if share.labels.items() <= node.get("Labels", {}).items()]
    if not fitting:
        labels = ", ".join(f"{name}={value}" for name, value in share.labels.items())
        return f"none of {len(nodes)} nodes has the labels {labels}"
    needs = " and ".join(f"{amount:g} {name}" for name, amount in wanted.items() if amount)
    if not any(all(node["Resources"].get(name, 0) >= amount for name, amount in wanted.items()) for node in fitting):
        return f"no node has {needs}"
    free = ray.available_resources()
    return f"it needs {needs}, and free are " + ", ".join(
        f"{free.get(name, 0):g} {name}" for name, amount in wanted.items() if amount
    )
