"""What each thing that is done on a processor's cores is worth, one thread, by turns with what it replaces; rates.

python bench/cores.py [FILE.json]
"""

import copy
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import ray
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from evs_batch.bench.domain import sample
from evs_batch.cli.figures import write_figures
from evs_batch.models import cores, loading, zoo
from evs_batch.models.compiling import BLOCKS, ON_CORES, compile_blocks
from evs_batch.models.hardware import Hardware, multiplies_bf16
from evs_batch.models.parts import Vae
from evs_batch.runtime.actors import CONCURRENCY
from evs_batch.runtime.memory import keep_memory
from evs_batch.stages.inline import load_enhancer
from evs_batch.store.recipes import load_recipe

TURNS, CLIPS, SIDE = 9, 4, 2048
SIDES = (8, 16, 24, 32)  # of latents
ALL_BUT_LINEAR = (cores.Attention, cores.AnimateDiffTransformer3D, cores.GEGLU, nn.GroupNorm)
DTYPE = torch.bfloat16 if multiplies_bf16(torch.device("cpu")) else torch.float32
CORES = Hardware(torch.device("cpu"), DTYPE)


def by_turns(of: str, ways: Mapping[str, Callable[[], Any]], calls: int = 1) -> Iterator[dict[str, Any]]:
    """Median milliseconds of each, for one of so many `calls` that it does, and the rate of its operations.

    PyTorch's fused attention is not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS + 1):
        for name, call in ways.items():
            began_s = time.perf_counter()
            call()
            taken[name].append(1000 * (time.perf_counter() - began_s) / calls)
    for name, call in ways.items():
        with FlopCounterMode(display=False) as counter:
            call()
        milliseconds = median(taken[name][1:])
        rate = counter.get_total_flops() / milliseconds / 1e6 / calls or None  # none in another process
        yield {"of": of, "way": name, "milliseconds": milliseconds, "gflop_per_s": rate}


def products() -> Iterator[dict[str, Any]]:
    """A large product in fp32 and in bf16: what precision alone could give."""
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    sides = {name: torch.randn(2, SIDE, SIDE).to(dtype) for name, dtype in kinds.items()}
    yield from by_turns("a large product", {name: partial(torch.matmul, *pair) for name, pair in sides.items()})


def passes() -> Iterator[dict[str, Any]]:
    """Of T2I and T2V over 16 frames, without and with each of them, and compiled, four sizes of pictures by turns."""
    spatial = loading.shared_unet(zoo.t2i_source("tiny"), (), CORES)
    networks: Mapping[str, Any] = {
        "T2I": (spatial, torch.randn(16, 4, 32, 32)),
        "T2V": (loading.load_motion_unet(zoo.t2v_source("tiny"), spatial), torch.randn(1, 4, 16, 32, 32)),
    }
    text, t = torch.randn(16, 24, spatial.config["cross_attention_dim"]).to(DTYPE), torch.tensor(300)
    for name, (unet, z) in networks.items():
        for of, ways, sides in ((f"a pass of {name}", LEVERS, SIDES[-1:]), (f"compiled {name}", COMPILED, SIDES)):
            inputs = [z[..., :side, :side].to(DTYPE) for side in sides]
            made = {way: CORES.hold(copy.deepcopy(unet)) for way in ways}
            for way, change in ways.items():
                change(made[way])
            calls = {way: partial(_each, net, inputs, t, text) for way, net in made.items()}
            yield from by_turns(of, calls, len(sides))


def _each(unet: Any, inputs: Sequence[torch.Tensor], *rest: torch.Tensor) -> None:
    for z in inputs:
        unet(z, *rest)


def threads() -> Iterator[dict[str, Any]]:
    """A pass of T2V by threads that sleep or stay awake while they wait for each other, in processes of their own."""
    for count, policy in ((1, "PASSIVE"), (2, "PASSIVE"), (2, "ACTIVE")):
        os.environ |= {"OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": str(count)}  # read when the process starts
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            yield from process.submit(_by_threads, count, policy).result()


def _by_threads(count: int, policy: str) -> list[dict[str, Any]]:
    keep_memory()
    torch.set_num_threads(count)
    unet: Any = loading.load_motion_unet(zoo.t2v_source("tiny"), loading.shared_unet(zoo.t2i_source("tiny"), (), CORES))
    cores.suit_cores(unet)
    text = torch.randn(16, 24, unet.config["cross_attention_dim"]).to(DTYPE)
    call = partial(CORES.hold(unet), torch.randn(1, 4, 16, 32, 32).to(DTYPE), torch.tensor(300), text)
    with torch.inference_mode():
        return [*by_turns("threads of T2V", {f"{count} {policy.lower()}": call})]


def only(*kinds: type[nn.Module]) -> Callable[[nn.Module], None]:
    """`suit_cores` for modules of these kinds."""

    def change(unet: nn.Module) -> None:
        for module in unet.modules():
            if isinstance(module, kinds):
                cores.suit(module)

    return change


def compiled(
    kinds: frozenset[str], *, apart: bool = True, suit: Callable[[nn.Module], None] = cores.suit_cores
) -> Callable[[nn.Module], None]:
    """All of them, unless `suit` does less, and blocks of these kinds compiled."""

    def change(unet: nn.Module) -> None:
        suit(unet)
        compile_blocks(unet, dynamic=False, kinds=kinds, apart=apart)

    return change


COMPILED: Mapping[str, Callable[[nn.Module], None]] = {
    "nothing": cores.suit_cores,
    "all blocks": compiled(BLOCKS),
    "all but resnets": compiled(ON_CORES),
    "all but resnets, together": compiled(ON_CORES, apart=False),
    "all but resnets, biases first": compiled(ON_CORES, suit=only(*ALL_BUT_LINEAR)),  # but for those of gates
}

LEVERS: Mapping[str, Callable[[nn.Module], None]] = {
    "as diffusers": lambda _: None,
    "short attention": only(cores.Attention),
    "motion modules": only(cores.AnimateDiffTransformer3D),
    "gates": only(cores.GEGLU),
    "small norms": only(nn.GroupNorm),
    "all of them": cores.suit_cores,
}


def slices() -> Iterator[dict[str, Any]]:
    """Of the autoencoder, for 16 frames."""
    frames = torch.tensor(sample(0).degraded)
    vaes = {size: Vae(loading.load_vae(zoo.t2i_source("tiny")), CORES) for size in (16, 8, 4, 2, 1)}
    for size, vae in vaes.items():
        vae._slice = size
    z = vaes[16].encode(frames)
    for of, given in (("encode", frames), ("decode", z)):
        yield from by_turns(of, {f"slices of {size}": partial(getattr(vae, of), given) for size, vae in vaes.items()})


def decoders() -> Iterator[dict[str, Any]]:
    """Of 16 frames by the T2I's own decoder, as diffusers has it and as it is, and by the small one."""
    own, z = zoo.t2i_source("tiny"), torch.randn(16, 4, 32, 32)
    small = zoo.decoder_source("tiny-decoder", own)
    vaes = {way: Vae(loading.load_vae(own), CORES) for way in ("as diffusers", "own decoder")}
    vaes["as diffusers"]._vae = CORES.hold(loading.load_vae(own))
    vaes[small.name] = Vae(loading.load_decoder(small), CORES)
    yield from by_turns("decode", {way: partial(vae.decode, z) for way, vae in vaes.items()})


def memory() -> Iterator[dict[str, Any]]:
    """Of a clip of the demo recipe, in a Ray actor that keeps the memory that it frees, and in one that does not."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    call = [(s.degraded, s.clip) for s in map(sample, range(CLIPS))]
    actors: Mapping[str, Any] = {"memory given back": Actor.remote(False), "memory kept": Actor.remote(True)}
    ways = {way: lambda actor=actor: ray.get(actor.run.remote(call)) for way, actor in actors.items()}
    yield from by_turns("a clip", ways, CLIPS)


@ray.remote(num_cpus=1, max_concurrency=CONCURRENCY)
class Actor:
    """Calls models in a thread of their own, as `runtime.actors.Worker` does."""

    def __init__(self, keep: bool) -> None:
        if keep:
            keep_memory()
        self._line = ThreadPoolExecutor(1)
        self._enhancer = self._line.submit(load_enhancer, load_recipe("demo"), 1).result()

    def run(self, call: list[Any]) -> Any:
        """The clips of one call."""
        return self._line.submit(self._enhancer, *zip(*call, strict=True)).result()


def main() -> None:
    """Print all, and write them if a file is named."""
    torch.set_num_threads(1)
    rows = []
    with torch.inference_mode():
        for part in (products, threads, passes, slices, decoders, memory):
            for row in part():
                rows.append(row)
                rate = f"{row['gflop_per_s']:8.0f} GFLOP/s" if row["gflop_per_s"] else ""
                print(f"{row['of']:<16} {row['way']:<18} {row['milliseconds']:8.1f} ms {rate}", flush=True)
    if sys.argv[1:]:
        write_figures("cores", rows, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
