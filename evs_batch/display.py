"""What people see of a run: a live view on a terminal, a line every few seconds elsewhere, and the same afterwards."""

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evs_batch import driver
from evs_batch.spec.units import amount, duration

LINE_EVERY_S = 5.0
BAR_WIDTH, MOST_CAUSES = 60, 5
POOLS = {"model": "the models", "t2i": "the T2I pool", "t2v": "the T2V pool", "media": "decoding and encoding"}
Record = Mapping[str, Any]  # of a driver: `Progress.as_dict`


@contextlib.contextmanager
def view(*, plain: bool) -> Iterator[Callable[[driver.Progress], None]]:
    """A function that shows progress on stderr."""
    console = Console(stderr=True, highlight=False)
    if plain or not console.is_terminal:
        yield _Lines(console)
        return
    live = _Live()
    with Live(get_renderable=live.render, console=console, refresh_per_second=4):
        yield live


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._last_s, self._last = console, 0.0, ""

    def __call__(self, progress: driver.Progress) -> None:
        now_s = time.monotonic()
        if progress.state != self._last or now_s - self._last_s >= LINE_EVERY_S:
            self._last, self._last_s = progress.state, now_s
            self._console.print(line(progress.as_dict()), soft_wrap=True, markup=False)


class _Live:
    def __init__(self) -> None:
        self._record: Record | None = None

    def __call__(self, progress: driver.Progress) -> None:
        self._record = progress.as_dict()

    def render(self) -> RenderableType:
        return picture(self._record) if self._record else Text("starting")


def line(record: Record) -> str:
    """One line about a run, as in job logs."""
    stages = " ".join(f"{name}={count}" for name, count in record["stages"].items() if count)
    causes = ", ".join(f"{name}={count}" for name, count in Counter(record["causes"]).most_common(3))
    failed = f", {record['failed']} failed ({causes})" if record["failed"] else ""
    how_far = f"{_done(record)}/{record['rows']} rows{failed}{_to_go(record)}"
    return f"{_elapsed_s(record):6.1f} s  {record['state']:<11} {how_far}  {stages}".rstrip()


def picture(record: Record) -> Group:
    """All of a run: how far it is, its stages, its pools, what failed."""
    bar = ProgressBar(total=max(1, record["rows"]), completed=_done(record), width=BAR_WIDTH)
    head = Text.assemble(
        (record["state"], "bold"),
        f"  {_done(record)}/{record['rows']} rows  {duration(_elapsed_s(record))}{_to_go(record)}",
    )
    return Group(head, bar, _stages(record), _pools(record), *_causes(Counter(record["causes"])))


def merged(records: Sequence[Record]) -> Record:
    """The records of several drivers of one folder as one."""
    one: dict[str, Any] = {"state": ", ".join(sorted({record["state"] for record in records}))}
    for name in ("rows", "success", "failed", "skipped"):
        one[name] = sum(record[name] for record in records)
    for name in ("stages", "running", "frames_per_s", "pools", "workers", "causes"):
        one[name] = defaultdict(float)
        for record in records:
            for key, value in record.get(name, {}).items():
                one[name][key] += value
    one["processes"] = {
        (at, name): meta for at, r in enumerate(records) for name, meta in r.get("processes", {}).items()
    }
    one["eta_s"] = (
        max((record.get("eta_s") or 0.0 for record in records if record["state"] == "running"), default=0.0) or None
    )
    one["started_s"] = min(record["started_s"] for record in records)
    one["updated_s"] = max(record["updated_s"] for record in records)
    return one


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


def status(records: Sequence[Record], rows: Iterable[dict[str, Any]], *, at_work: bool) -> dict[str, Any]:
    """What `print_status` shows, for machines; times are Unix seconds."""
    one = dict(merged(records))
    counts, causes = Counter[str](), Counter[str]()
    for row in rows:
        counts[row["status"]] += 1
        causes.update([row["error_type"]] if row["status"] == "failed" else [])
    one["processes"] = list(one["processes"].values())
    total = max(record.get("manifest_rows", record["rows"]) for record in records)
    return {**one, "at_work": at_work, "manifest_rows": total, **{name: counts[name] for name in ("success", "failed")},
            "causes": causes}  # fmt: skip


def print_status(
    records: Sequence[Record], rows: Iterable[dict[str, Any]], leftovers: Mapping[str, int], *, at_work: bool
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
    if at_work:
        out.print(picture({**merged(records), "causes": {}}))
    for cause, count in causes.most_common():
        out.print(
            f"{count:6d}  {cause}: {examples[cause]['error_message']} (for example {examples[cause]['id']})",
            markup=False,
        )
    if leftovers:
        kinds = ", ".join(f"{count} {kind}" for kind, count in leftovers.items())
        out.print(f"left behind: {kinds}; the same command again finishes or removes them")


def _done(record: Record) -> int:
    return record["success"] + record["failed"]


def _elapsed_s(record: Record) -> float:
    return record["updated_s"] - record["started_s"]


def _to_go(record: Record) -> str:
    eta_s = record.get("eta_s")
    return (
        f"  about {duration(eta_s)} to go"
        if eta_s and "running" in record["state"] and _done(record) < record["rows"]
        else ""
    )


def _stages(record: Record) -> Table:
    """Segments that wait and that are in calls, and the rate, stage by stage."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage")
    for name in ("waiting", "in calls", "frames/s"):
        table.add_column(name, justify="right", min_width=8)
    rates, running = record.get("frames_per_s", {}), record.get("running", {})
    for name, count in record["stages"].items():
        rate, called = rates.get(name), running.get(name, 0)
        table.add_row(name, f"{count - called:g}", f"{called:g}", "" if rate is None else f"{rate:.1f}")
    return table


def _pools(record: Record) -> Table:
    """Workers of each pool: how many there are of how many, what they hold, and the most memory of one."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("pool", "workers", "holding", "memory of one"):
        table.add_column(name)
    of_pool = defaultdict[str, list[Mapping[str, Any]]](list)
    for name, meta in ((name, meta) for name, meta in record.get("processes", {}).items() if meta.get("up", True)):
        of_pool[(name if isinstance(name, str) else name[1]).rpartition("-")[0]].append(meta)
    for name, size in record.get("pools", {}).items():
        held = Counter("+".join(meta["held"]) for meta in of_pool[name])
        most = max((meta.get("memory_bytes", 0) for meta in of_pool[name]), default=0)
        holding = ", ".join(f"{count} {roles}" for roles, count in held.most_common())
        table.add_row(name, f"{len(of_pool[name])} of {size:g}", holding, amount(most) if most else "")
    return table


def _causes(causes: Counter[str]) -> list[Text]:
    return [Text(f"{count} failed: {cause}", style="red") for cause, count in causes.most_common(MOST_CAUSES)]
