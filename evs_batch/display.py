"""What people see while a run goes on: a live view on a terminal, a line every few seconds elsewhere."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evs_batch import driver

LINE_EVERY_S = 5.0
POOLS = {"model": "the models", "t2i": "the T2I pool", "t2v": "the T2V pool", "media": "decoding and encoding"}


@contextlib.contextmanager
def view(*, plain: bool) -> Iterator[Callable[[driver.Progress], None]]:
    """A function that shows progress on stderr."""
    console = Console(stderr=True, highlight=False)
    if plain or not console.is_terminal:
        yield _Lines(console)
        return
    live = _Live()
    with Live(get_renderable=live.render, console=console, refresh_per_second=8):
        yield live


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._last_s, self._last = console, 0.0, ""

    def __call__(self, progress: driver.Progress) -> None:
        now_s = time.monotonic()
        if progress.state != self._last or now_s - self._last_s >= LINE_EVERY_S:
            self._last, self._last_s = progress.state, now_s
            self._console.print(line(progress), soft_wrap=True, markup=False)


class _Live:
    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task("starting", total=None)
        self._progress: driver.Progress | None = None

    def __call__(self, progress: driver.Progress) -> None:
        self._progress = progress
        done = sum(progress.done.values())
        self._bar.update(self._task, description=progress.state, total=progress.rows, completed=done)

    def render(self) -> Group:
        if self._progress is None:
            return Group(self._bar)
        return Group(self._bar, _stage_table(self._progress), *_causes(self._progress.causes.copy()))


def line(progress: driver.Progress) -> str:
    """One line about a run, as in job logs."""
    stages = " ".join(f"{name}={count}" for name, count in progress.stages.items() if count)
    done = sum(progress.done.values())
    elapsed_s = time.time() - progress.started_s
    failed = f", {progress.done['failed']} failed" if progress.done["failed"] else ""
    return f"{elapsed_s:6.1f} s  {progress.state:<11} {done}/{progress.rows} rows{failed}  {stages}".rstrip()


def print_summary(summary: driver.Summary) -> None:
    """The end of a run: figures on stderr, where the results are on stdout."""
    console = Console(stderr=True, highlight=False)
    skipped = f", {summary.skipped} of them from an earlier run" if summary.skipped else ""
    console.print(
        f"{summary.success} of {summary.rows} rows done{skipped}, {summary.failed} failed, {summary.elapsed_s:.1f} s"
    )
    if summary.reached:
        console.print(
            f"this run reached {summary.reached.fraction:.2f} of what its workers allow (full calls, no pause); "
            f"bottleneck: {POOLS.get(summary.reached.bottleneck, summary.reached.bottleneck)}",
            soft_wrap=True,
        )
    if summary.overlap_s:
        console.print(f"T2I and T2V worked at the same time for {summary.overlap_s:.1f} s")
    out = Console(highlight=False, soft_wrap=True)
    for name, part in (("videos", "videos/"), ("manifest", "manifest/"), ("records", "_run/")):
        out.print(f"{name:<9} {summary.output}/{part}", markup=False)


def print_status(
    records: Sequence[dict[str, Any]], rows: Iterable[dict[str, Any]], leftovers: Mapping[str, int]
) -> None:
    """Progress of all drivers of an output folder, failures by cause with an example, and what killed ones left."""
    out = Console(highlight=False, soft_wrap=True)
    counts, causes, examples = Counter[str](), Counter[str](), dict[str, dict[str, Any]]()
    for row in rows:
        counts[row["status"]] += 1
        if row["status"] == "failed":
            causes[row["error_type"]] += 1
            examples[row["error_type"]] = row
    total = max(record.get("manifest_rows", record["rows"]) for record in records)
    states = ", ".join(sorted({record["state"] for record in records}))
    age_s = time.time() - max(record["updated_s"] for record in records)
    out.print(
        f"{states}; {counts.total()} of {total} rows committed: {counts['success']} success, "
        f"{counts['failed']} failed; last sign of life {age_s:.0f} s ago"
    )
    for cause, count in causes.most_common():
        out.print(
            f"{count:6d}  {cause}: {examples[cause]['error_message']} (for example {examples[cause]['id']})",
            markup=False,
        )
    if leftovers:
        kinds = ", ".join(f"{count} {kind}" for kind, count in leftovers.items())
        out.print(f"left behind: {kinds}; the same command again finishes or removes them")


def _stage_table(progress: driver.Progress) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(*[Text(name, style="dim") for name in progress.stages])
    table.add_row(*[str(count) for count in progress.stages.values()])
    workers = ", ".join(f"{count} {role}" for role, count in sorted(progress.workers.items())) or "none yet"
    table.add_row(Text(f"workers: {workers}", style="dim"))
    return table


def _causes(causes: Counter[str]) -> list[Text]:
    return [Text(f"{count} failed: {cause}", style="red") for cause, count in causes.most_common(5)]
