"""One resumable training loop for all parts of the tiny family."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

WARMUP_STEPS = 100
SAVE_EVERY_STEPS = 250
LOG_EVERY_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast one part is trained."""

    steps: int
    learning_rate: float
    ema: float = 0.998


def fit(
    name: str,
    trained: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    schedule: Schedule,
    folder: Path,
) -> None:
    """Minimise `loss` over the parameters of `trained` that require gradients; leaves their moving average in place.

    `loss` draws its batch from the generator it gets, which is seeded by the step: an interrupted run resumes
    from `folder` on the same batches. Losses go to `folder/name.jsonl`.
    """
    parameters = [p for p in trained.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=0.01)
    checkpoint = folder / f"{name}.pt"
    start = _restore(checkpoint, parameters, average, optimizer)
    recent, started_s = [], time.monotonic()
    for step in _shown(name, start, schedule.steps):
        value = loss(torch.Generator().manual_seed(step))
        _update(optimizer, parameters, value, schedule.learning_rate * _cosine(step, schedule.steps))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - min(schedule.ema, step / (step + 10)))
        recent.append(value.item())
        if (step + 1) % LOG_EVERY_STEPS == 0 or step + 1 == schedule.steps:
            _log(folder / f"{name}.jsonl", step + 1, recent, (time.monotonic() - started_s) / (step + 1 - start))
            recent = []
        if (step + 1) % SAVE_EVERY_STEPS == 0 or step + 1 == schedule.steps:
            _save(checkpoint, step + 1, parameters, average, optimizer)
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)


def _shown(name: str, start: int, steps: int) -> Iterator[int]:
    """The steps, with a progress bar where someone watches."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:-1], TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=steps, completed=start)
        for step in range(start, steps):
            yield step
            progress.advance(bar)


def _update(optimizer: torch.optim.Optimizer, parameters: list, value: Tensor, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def _cosine(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARMUP_STEPS) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _restore(checkpoint: Path, parameters: list, average: list, optimizer: torch.optim.Optimizer) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    with torch.no_grad():
        for parameter, saved in zip(parameters, state["parameters"], strict=True):
            parameter.copy_(saved)
        for mean, saved in zip(average, state["average"], strict=True):
            mean.copy_(saved)
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def _save(checkpoint: Path, step: int, parameters: list, average: list, optimizer: torch.optim.Optimizer) -> None:
    partial = checkpoint.with_suffix(".partial")
    state = {"step": step, "parameters": parameters, "average": average, "optimizer": optimizer.state_dict()}
    torch.save(state, partial)
    partial.replace(checkpoint)


def _log(path: Path, step: int, losses: list[float], seconds_per_step: float) -> None:
    line = {"step": step, "loss": round(sum(losses) / len(losses), 5), "s_per_step": round(seconds_per_step, 3)}
    print(path.stem, line, flush=True)
    with path.open("a") as log:
        log.write(json.dumps(line) + "\n")
