"""What people see of a run."""

import io
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType

from evs_batch import display
from evs_batch.driver import Progress


def progress(**changes: Any) -> Progress:
    made = Progress(rows=100, started_s=0.0, state="running")
    made.stages, made.running = {"decode": 3, "t2i_a": 12, "t2v": 0}, {"t2i_a": 8}
    made.frames_per_s, made.eta_s = {"decode": 5.0, "t2i_a": 4.25}, 4000.0
    made.pools, made.done["success"] = {"media": 1, "model": 4}, 39
    made.processes = {
        "media-0": {"role": "media", "held": ["media"], "memory_bytes": 2 * 10**8},
        "model-1": {"role": "t2i", "held": ["t2i", "t2v"], "memory_bytes": 61 * 10**9},
        "model-2": {"role": "t2i", "held": ["t2i", "t2v"], "memory_bytes": 60 * 10**9},
        "model-3": {"role": "t2v", "held": ["t2v"], "memory_bytes": 0},
        "model-0": {"role": "t2v", "held": ["t2v"], "memory_bytes": 9, "up": False},
    }
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def shown(what: RenderableType) -> list[str]:
    """Lines, with single spaces."""
    console = Console(file=io.StringIO(), width=100)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def record(made: Progress) -> dict[str, Any]:
    return {**made.as_dict(), "updated_s": 75.0}


def test_a_line_says_how_far_a_run_is_and_when_it_will_be_done():
    made = progress()
    made.done["failed"], made.causes = 2, Counter({"MediaError": 2})
    assert display.line(record(made)) == (
        "  75.0 s  running     41/100 rows, 2 failed (MediaError=2)  about 1 h 7 min to go  decode=3 t2i_a=12"
    )


def test_nothing_is_to_go_where_all_is_done_or_nothing_is_known():
    finished = progress()
    finished.done["success"] = 100
    for made in (finished, progress(eta_s=None), progress(state="stopping")):
        assert "to go" not in display.line(record(made))


def test_the_picture_shows_stages_with_queues_and_rates_and_pools_with_roles_and_memory():
    lines = shown(display.picture(record(progress(causes={"MediaError": 3, "TooLarge": 1}))))
    for wanted in (
        "running 39/100 rows 1 min 15 s about 1 h 7 min to go",
        "decode 3 0 5.0",
        "t2i_a 4 8 4.2",
        "media 1 of 1 1 media 200.0 MB",
        "model 3 of 4 2 t2i+t2v, 1 t2v 61.0 GB",
        "3 failed: MediaError",
        "1 failed: TooLarge",
    ):
        assert wanted in lines, lines


def test_the_records_of_several_drivers_are_shown_as_one():
    one = display.merged([record(progress()), record(progress(eta_s=5000.0))])
    lines = shown(display.picture(one))
    assert "running 78/200 rows 1 min 15 s about 1 h 23 min to go" in lines
    assert "model 6 of 8 4 t2i+t2v, 2 t2v 61.0 GB" in lines
    assert "t2i_a 8 16 8.5" in lines


def test_the_status_for_machines_has_what_is_committed():
    rows = [{"id": "a", "status": "failed", "error_type": "E"}, {"id": "b", "status": "success", "error_type": None}]
    found = json.loads(json.dumps(display.status([record(progress()), record(progress())], rows, at_work=True)))
    assert (found["rows"], found["success"], found["failed"], found["causes"]) == (200, 1, 1, {"E": 1})
    assert (found["at_work"], found["eta_s"], found["running"]["t2i_a"]) == (True, 4000.0, 16)


def test_the_status_of_a_run_at_work_has_the_picture_and_of_one_that_has_ended_has_not(capsys):
    rows: Iterable[dict[str, Any]] = [{"id": "a", "status": "failed", "error_type": "E", "error_message": "[red]why"}]
    display.print_status([record(progress())], rows, {}, at_work=True)
    at_work = capsys.readouterr().out
    display.print_status([record(progress())], rows, {"half": 1}, at_work=False)
    ended = capsys.readouterr().out
    assert "frames/s" in at_work
    assert "frames/s" not in ended
    assert "1  E: [red]why (for example a)" in at_work
    assert "left behind: 1 half" in ended
