"""The one place where a run is put together: manifest, recipe, output folder, workers, loop."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evs_batch.runtime import cluster
from evs_batch.runtime.loop import Finished, Loop
from evs_batch.scheduling.state import Policy
from evs_batch.spec.errors import ManifestError
from evs_batch.spec.manifest import Row
from evs_batch.spec.recipe import Recipe, load_recipe
from evs_batch.spec.version import VERSION
from evs_batch.spec.work import Clip, path
from evs_batch.store import ledger, reading, storage

CLIPS_AHEAD_PER_WORKER = 4
STATS_EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run may be told besides manifest, recipe and output."""

    limit: int | None = None
    shard: tuple[int, int] = (1, 1)
    address: str | None = None
    t2i_workers: int | None = None
    t2v_workers: int | None = None
    retry_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended. `rows` counts what this driver is to do, `success` and `failed` what is committed of it."""

    output: str
    rows: int
    success: int
    failed: int
    skipped: int
    elapsed_s: float
    overlap_s: float
    signal: signal.Signals | None

    @property
    def failed_fraction(self) -> float:
        return self.failed / self.rows if self.rows else 0.0


@dataclass
class Progress:
    """A run as others see it: on the terminal, in `status`, in its stats."""

    rows: int
    started_s: float = field(default_factory=time.time)
    done: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: str = "starting"

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times are Unix seconds."""
        return {
            "state": self.state,
            "rows": self.rows,
            "success": self.done["success"],
            "failed": self.done["failed"],
            "skipped": self.skipped,
            "causes": dict(self.causes),
            "stages": self.stages,
            "workers": self.workers,
            "processes": self.processes,
            "started_s": self.started_s,
            "updated_s": time.time(),
        }


def run(
    manifest: str | Path,
    recipe: Recipe | str | Path,
    output: str | Path,
    options: Options = Options(),
    watch: Callable[[Progress], None] = lambda _: None,
) -> Summary:
    """Enhance every video of a manifest; run again to resume. `watch` is called about ten times a second.

    Raises RecipeError, ManifestError and OutputError before anything is started, RunError when it cannot go on.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    source = reading.open_manifest(str(manifest), recipe.seed)
    job = Job(recipe, source, storage.absolute(str(output)), options, watch)
    return job.run()


class Job:
    """One driver's part of a run."""

    def __init__(
        self,
        recipe: Recipe,
        source: reading.Manifest,
        output: str,
        options: Options,
        watch: Callable[[Progress], None],
    ) -> None:
        self._recipe, self._source, self._output = recipe, source, output
        self._options, self._watch = options, watch
        identity = {"recipe": recipe.identity(), "manifest": source.fingerprint, "evs_version": VERSION}
        self._ledger = ledger.open_ledger(output, identity, reading.passed_through(source.schema))
        if options.retry_failed:
            ledger.forget_failed(output, {row.id for row in self._selected()})
        self._rows: dict[str, Row] = {}
        self.progress = Progress(rows=sum(1 for _ in self._selected()))
        self._last_stats_s = 0.0

    def run(self) -> Summary:
        """Do what is not committed yet; starts Ray only if there is something to do."""
        todo = self._todo()
        first = next(todo, None)
        loop = self._loop(_chain(first, todo)) if first else None
        stopped = False
        try:
            if loop:
                with _Signals(loop):
                    stopped = loop.run()
        except BaseException:
            self.progress.state = "aborted"
            raise
        else:
            self.progress.state = "interrupted" if stopped else "done"
        finally:
            self._ledger.flush(force=True)
            if loop:
                self._record(loop)
                cluster.disconnect()
        self._watch(self.progress)
        return self._summary(loop)

    def _selected(self) -> Iterator[Row]:
        """The rows that this driver is to do: its shard of the first `limit`."""
        number, shards = self._options.shard
        for row in self._source:
            if self._options.limit is not None and row.number >= self._options.limit:
                return
            if row.number % shards == number - 1:
                yield row

    def _todo(self) -> Iterator[Clip]:
        """Clips that are not committed; rows that cannot be clips are committed as failed on the way."""
        done = {row["id"]: row for row in ledger.committed(self._output, ["id", "status", "error_type"])}
        for row in self._selected():
            if row.id in done:
                self.progress.skipped += 1
                self._count(done[row.id]["status"], done[row.id]["error_type"])
            elif row.clip is None:
                self._commit(row, _failed_row(type(row.error).__name__, "manifest", str(row.error), 1))
            else:
                self._rows[row.id] = row
                yield row.clip

    def _loop(self, clips: Iterator[Clip]) -> Loop:
        cluster.connect(self._options.address)
        resources = cluster.resources()
        placement = cluster.place(self._recipe, resources, self._options.t2i_workers, self._options.t2v_workers)
        runtime, t2v = self._recipe.runtime, self._recipe.t2v
        policy = Policy(
            path=path(self._recipe),
            workers=placement.workers,
            call_frames={"t2i": runtime.batch_frames, "t2v": runtime.batch_windows * t2v.window},
            budget_bytes=cluster.budget_bytes(self._recipe, resources),
            lookahead_clips=CLIPS_AHEAD_PER_WORKER * sum(placement.workers.values()),
            max_wait_s=runtime.max_wait_s,
            max_attempts=runtime.max_attempts,
            stall_s=runtime.stall_s,
        )
        return Loop(
            recipe=self._recipe,
            policy=policy,
            placement=placement,
            output_uri=lambda clip: storage.join(self._output, "videos", f"{clip}.mp4"),
            clips=(_located(clip, self._source.folder) for clip in clips),
            finished=self._finish,
            on_tick=self._tick,
        )

    def _finish(self, end: Finished) -> None:
        if end.failure:
            row = _failed_row(end.failure.type, end.failure.stage, end.failure.message, end.attempts)
        else:
            row = {**end.row, "status": "success", "attempts": end.attempts}
        seconds = {"t2i_seconds": end.seconds.get("t2i", 0.0), "t2v_seconds": end.seconds.get("t2v", 0.0)}
        self._commit(self._rows.pop(end.clip.id), {**row, **seconds})

    def _commit(self, row: Row, result: dict[str, Any]) -> None:
        constant = {"id": row.id, "recipe_fingerprint": self._recipe.fingerprint, "evs_version": VERSION}
        self._ledger.commit({**row.cells, **result, **constant})
        self._count(result["status"], result.get("error_type"))

    def _count(self, status: str, error_type: str | None) -> None:
        self.progress.done[status] += 1
        if error_type:
            self.progress.causes[error_type] += 1

    def _tick(self, loop: Loop) -> None:
        self._ledger.flush()
        state, names = loop.state, [stage.name for stage in loop.policy.path]
        self.progress.stages = {name: state.clips_at[at] for at, name in enumerate(names)}
        self.progress.processes = {name: vars(meta) for name, meta in loop.worker_metas.items()}
        self.progress.workers = dict(Counter(w.role for w in state.workers.values() if w.up))
        self.progress.state = "stopping" if state.stopping else "running" if self.progress.workers else "starting"
        self._watch(self.progress)
        if time.monotonic() - self._last_stats_s >= STATS_EVERY_S:
            self._last_stats_s = time.monotonic()
            ledger.write_stats(self._output, self._options.shard, self.progress.as_dict())

    def _record(self, loop: Loop) -> None:
        """Final stats: progress, figures and the timeline of calls."""
        timeline = loop.timeline
        stats = {
            **self.progress.as_dict(),
            "overlap_s": round(timeline.overlap_s(), 3),
            "busy_s": {worker: round(busy, 3) for worker, busy in timeline.busy_s.items()},
            "timeline": list(timeline.calls),
        }
        ledger.write_stats(self._output, self._options.shard, stats)

    def _summary(self, loop: Loop | None) -> Summary:
        progress = self.progress
        return Summary(
            output=self._output,
            rows=progress.rows,
            success=progress.done["success"],
            failed=progress.done["failed"],
            skipped=progress.skipped,
            elapsed_s=time.time() - progress.started_s,
            overlap_s=loop.timeline.overlap_s() if loop else 0.0,
            signal=loop.stop_signal if loop else None,
        )


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` with 1 <= i <= n; raises ManifestError."""
    number, slash, shards = text.partition("/")
    if not (slash and number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
        raise ManifestError(f"--shard {text}", "must be i/n with 1 <= i <= n", "for example --shard 1/4")
    return int(number), int(shards)


def _failed_row(error_type: str, stage: str, message: str, attempts: int) -> dict[str, Any]:
    return {
        "status": "failed",
        "error_type": error_type,
        "error_stage": stage,
        "error_message": message,
        "attempts": attempts,
    }


def _located(clip: Clip, folder: str) -> Clip:
    """The clip with an absolute URI."""
    return Clip(**{**vars(clip), "uri": storage.resolve(clip.uri, folder)})


def _chain(first: Clip, rest: Iterator[Clip]) -> Iterator[Clip]:
    yield first
    yield from rest


class _Signals:
    """Within this block SIGINT and SIGTERM ask the loop to stop; a second one ends it as usual."""

    def __init__(self, loop: Loop) -> None:
        self._loop, self._before = loop, {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stop)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self._loop.stop_signal = signal.Signals(number)
        signal.signal(number, self._before[number])
