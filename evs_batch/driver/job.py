"""One driver's part of a run: which rows are to do, and what becomes of each."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from evs_batch.driver.doubt import Doubt
from evs_batch.driver.look import look
from evs_batch.driver.models import check_models
from evs_batch.driver.progress import Options, Progress, Summary
from evs_batch.driver.signals import StopSignals
from evs_batch.runtime import cluster
from evs_batch.runtime.loop import Finished, Loop
from evs_batch.scheduling.policy import Policy
from evs_batch.spec.errors import EvsError, ManifestError, OutputError, RecipeError
from evs_batch.spec.manifest import OUTPUT_COLUMNS, Row, misspelt
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.version import VERSION
from evs_batch.spec.work import Clip, path
from evs_batch.store import ledger, reading, storage
from evs_batch.store.recipes import load_recipe

log = logging.getLogger(__name__)
CLIPS_AHEAD_PER_WORKER = 4
STATS_EVERY_S = 2.0
COUNTS = ("rows", "success", "failed")


def run(
    manifest: str | Path,
    recipe: Recipe | str | Path,
    output: str | Path,
    *,
    watch: Callable[[Progress], None] = lambda _: None,
    **options: Any,
) -> Summary:
    """Enhance every video of a manifest; run again to resume. `options` are those of `Options`.

    `watch` is called about ten times a second. Raises RecipeError, ModelError, ManifestError and OutputError before
    anything is started, RunError when it cannot go on.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    chosen, folder = Options(**options), storage.absolute(str(output))
    check_models(recipe, chosen.address)
    if not str(output).strip():
        raise OutputError("an empty output", "must name a folder", "for example --output out/videos")
    storage.configure(recipe.runtime.storage)
    key = _key(recipe, str(manifest), chosen)
    with StopSignals() as signals, ledger.exclusive(folder, chosen.shard) as check:
        if not chosen.retry_failed and (counts := ledger.read_done(folder, chosen.shard, key)):
            rows, success, failed = (counts[name] for name in COUNTS)
            return Summary(output=folder, rows=rows, success=success, failed=failed, skipped=rows)
        source = reading.open_manifest(str(manifest), recipe.seed)
        for column, known in misspelt(source.schema.names):
            log.warning("column '%s' is not used: did you mean '%s'?", column, known)
        return Job(recipe, source, folder, chosen, watch, signals, key, check).run()


def _key(recipe: Recipe, manifest: str, options: Options) -> str:
    """What makes a run another one: the bytes of its manifest, its recipe, its rows, and who we are."""
    known = [reading.digest(manifest), recipe.identity(), VERSION, options.limit]
    return hashlib.blake2b(json.dumps(known, sort_keys=True).encode()).hexdigest()


class Job:
    """One driver's part of a run."""

    def __init__(
        self,
        recipe: Recipe,
        source: reading.Manifest,
        output: str,
        options: Options,
        watch: Callable[[Progress], None],
        signals: StopSignals,
        key: str,
        check: Callable[[], None],
    ) -> None:
        self._recipe, self._source, self._output = recipe, source, output
        self._options, self._watch, self._signals, self._key = options, watch, signals, key
        known = {"fingerprint": source.fingerprint, "rows": source.rows}
        identity = {"recipe": recipe.identity(), "manifest": known, "evs_version": VERSION}
        fields = reading.passed_through(source.schema)
        self._ledger = ledger.open_ledger(output, identity, fields, force=options.force, check=check)
        if options.retry_failed:
            ledger.forget_failed(output, {row.id for row in self._selected()})
        self._rows: dict[str, Row] = {}
        self._device: cluster.Device | None = None
        self._doubt = Doubt(ends_run=options.max_failed_fraction < 1)
        self._late_parts: list[str] = []
        ledger.tidy(output, options.shard)
        # clips of which segments lie in the folder
        self._segmented = storage.names(storage.join(output, "_run", "parts"))
        number, shards = options.shard
        self.progress = Progress(rows=len(range(number - 1, min(options.limit or source.rows, source.rows), shards)))
        self.progress.manifest_rows, self.progress.manifest_folder = source.rows, source.folder
        self._last_stats_s = 0.0
        ledger.write_stats(output, options.shard, self.progress.as_dict())

    def run(self) -> Summary:
        """Do what is not committed yet; starts Ray only if there is something to do."""
        todo, loop = self._todo(), None
        self.progress.state = "aborted"
        try:
            first = next(todo, None)
            if first:
                loop = self._loop(chain([first], todo))
                loop.run()
            self.progress.state = "interrupted" if self._signals.received else "done"
            for clip in todo:  # after an interrupt: only to count what earlier runs have done
                del self._rows[clip.id]
        finally:
            self._settle(self._doubt.release())
            self._ledger.close()
            # a segment may have been under way when its clip ended
            for clip in set(self._late_parts) - self._segmented:
                storage.remove_folder(self._parts_uri(clip))
            ledger.tidy(self._output, self._options.shard)
            self._record(loop)
            if loop:
                cluster.release_autoscaler(self._recipe)
            cluster.disconnect()
        self._watch(self.progress)
        summary = self._summary()
        if self.progress.state == "done":
            counts = {name: getattr(summary, name) for name in COUNTS}
            ledger.write_done(self._output, self._options.shard, self._key, counts)
        return summary

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
        columns = ["id", "status", "error_type"]
        done = {row["id"]: (row["status"], row["error_type"]) for row in ledger.committed(self._output, columns)}
        # other shards commit to the same folder
        self.progress.earlier = min(self.progress.rows, len(done) // self._options.shard[1])
        for row in self._selected():
            if row.id in done:
                if row.id in self._segmented:
                    storage.remove_folder(self._parts_uri(row.id))
                self.progress.skipped += 1
                self.progress.failed_earlier += done[row.id][0] == "failed"
                self._count(*done[row.id])
            elif error := row.error or self._overwrites(row) or self._unfit(row):
                self._commit(row, _failed_row(type(error).__name__, "manifest", str(error), 1))
            elif row.clip:
                self._rows[row.id] = row
                yield row.clip

    def _overwrites(self, row: Row) -> ManifestError | None:
        """Nobody's source is replaced by its result."""
        if row.clip is None or not storage.same(row.clip.uri, self._output_uri(row.id)):
            return None
        return ManifestError(row.clip.uri, "is where the result would go", "use another output folder")

    def _unfit(self, row: Row) -> EvsError | None:
        """What a row asks for must go with the recipe."""
        try:
            self._recipe.at(row.clip.strength if row.clip else None)
        except RecipeError as error:
            return error
        return None

    def _output_uri(self, clip: str) -> str:
        return storage.join(self._output, "videos", f"{clip}.{self._recipe.output.container}")

    def _parts_uri(self, clip: str) -> str:
        """The folder for the segments of a long clip, until they are one file."""
        return storage.join(self._output, "_run", "parts", clip)

    def _loop(self, clips: Iterator[Clip]) -> Loop:
        cluster.connect(self._options.address)
        self._signals.install()
        self._device = (placement := self._place()).device
        cluster.ask_autoscaler(self._recipe, placement)
        return Loop(
            recipe=self._recipe,
            policy=policy(self._recipe, placement),
            placement=placement,
            place=self._place,
            output_uri=self._output_uri,
            parts_uri=self._parts_uri,
            clips=clips,
            finished=self._finish,
            on_tick=self._tick,
            stop_asked=lambda: self._signals.received is not None,
        )

    def _place(self) -> cluster.Placement:
        asked = self._options
        return cluster.place(self._recipe, cluster.nodes(), asked.t2i_workers, asked.t2v_workers, self._device)

    def _finish(self, end: Finished) -> None:
        if end.failure:
            row = _failed_row(end.failure.type, end.failure.stage, end.failure.message, end.attempts)
        else:
            row = {**end.row, "status": "success", "attempts": end.attempts}
        seconds = {"t2i_seconds": end.seconds.get("t2i", 0.0), "t2v_seconds": end.seconds.get("t2v", 0.0)}
        if end.segments > 1:
            self._segmented.add(end.clip.id)
            self._late_parts += [end.clip.id] * (end.failure is not None or end.begun_again)
        self._settle(self._doubt.settle(self._rows.pop(end.clip.id), {**row, **seconds}))

    def _settle(self, rows: list[tuple[Row, dict[str, Any]]]) -> None:
        """Commit rows; the segments of their clips are not needed any more."""
        for row, result in rows:
            self._commit(row, result)
            if row.id in self._segmented:
                self._ledger.flush(force=True)  # who is killed here has either the row or the parts
                storage.remove_folder(self._parts_uri(row.id))
                self._segmented.discard(row.id)

    def _commit(self, row: Row, result: dict[str, Any]) -> None:
        constant = {"id": row.id, "recipe_fingerprint": self._recipe.fingerprint, "evs_version": VERSION}
        passed = {name: cell for name, cell in row.cells.items() if name not in OUTPUT_COLUMNS}
        if row.clip:  # the output manifest lies elsewhere, and it is an input manifest too
            passed[self._source.columns["uri"]] = row.clip.uri
        self._ledger.commit({**passed, **result, **constant})
        self._count(result["status"], result.get("error_type"))

    def _count(self, status: str, error_type: str | None) -> None:
        self.progress.done[status] += 1
        if error_type:
            self.progress.causes[error_type] += 1

    def _tick(self, loop: Loop) -> None:
        self._ledger.flush()
        before, now = self.progress.state, time.monotonic()
        look(self.progress, loop)
        if self.progress.state != before or now - self._last_stats_s >= STATS_EVERY_S:
            self._last_stats_s = now
            ledger.write_stats(self._output, self._options.shard, self.progress.as_dict())
        self._watch(self.progress)

    def _record(self, loop: Loop | None) -> None:
        """Final stats: progress, figures and the timeline of calls."""
        stats = self.progress.as_dict()
        if loop:
            self.progress.overlap_s = loop.timeline.overlap_s()
            self.progress.reached = loop.timeline.account.reached(loop.policy)
            stats["overlap_s"] = round(self.progress.overlap_s, 3)
            stats["reached"] = vars(self.progress.reached) if self.progress.reached else None
            stats |= loop.timeline.account.as_dict(loop.policy, time.time() - self.progress.started_s)
            stats["timeline"] = list(loop.timeline.calls)
            stats["loads"] = [vars(load) for load in loop.timeline.loads]
            ledger.write_trace(self._output, self._options.shard, loop.timeline.trace())
        ledger.write_stats(self._output, self._options.shard, stats)

    def _summary(self) -> Summary:
        progress = self.progress
        return Summary(
            output=self._output,
            rows=progress.rows,
            success=progress.done["success"],
            failed=progress.done["failed"],
            skipped=progress.skipped,
            elapsed_s=time.time() - progress.started_s,
            overlap_s=progress.overlap_s,
            reached=progress.reached,
            signal=self._signals.received,
        )


def policy(recipe: Recipe, placement: cluster.Placement) -> Policy:
    """What the scheduler is told of a recipe and of the workers that it has."""
    runtime = recipe.runtime
    return Policy(
        path=path(recipe),
        pools=placement.pools,
        call_frames={"t2i": runtime.batch_frames, "t2v": runtime.batch_frames},
        budget_bytes=placement.budget_bytes,
        lookahead_clips=CLIPS_AHEAD_PER_WORKER * sum(pool.size for pool in placement.pools.values()),
        max_wait_s=runtime.max_wait_s,
        max_attempts=runtime.max_attempts,
        timeout_s=runtime.timeout_s,
        stall_s=runtime.stall_s,
    )


def _failed_row(error_type: str, stage: str, message: str, attempts: int) -> dict[str, Any]:
    return {
        "status": "failed",
        "error_type": error_type,
        "error_stage": stage,
        "error_message": message,
        "attempts": attempts,
    }
