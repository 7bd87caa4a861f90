"""What `plan` foretells of the demo against what the run then takes, by turns.

python bench/plan.py [REPEATS [ROWS [FILE.json]]]
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from evs_batch.cli.figures import write_figures

DEMO = ["manifests/demo.parquet", "--recipe", "demo"]


def command(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "evs_batch", *arguments], check=True, capture_output=True)


def planned_s(folder: Path, rows: str) -> float:
    """What the plan says, after a short run of so many rows."""
    command("plan", *DEMO, "--rows", rows, "--json", str(folder / "plan.json"))
    return json.loads((folder / "plan.json").read_text())["forecast"]["seconds"]


def measured_s(folder: Path) -> float:
    """From the start of the run to its end, as its record says."""
    command("run", *DEMO, "--output", str(folder / "out"))
    stats = json.loads((folder / "out" / "_run" / "stats.json").read_text())
    return stats["updated_s"] - stats["started_s"]


def main() -> None:
    repeats, rows, file = (*sys.argv[1:], *("3", "4", "")[len(sys.argv) - 1 :])
    found = []
    for _ in range(int(repeats)):
        with tempfile.TemporaryDirectory() as folder:
            planned, measured = planned_s(Path(folder), rows), measured_s(Path(folder))
        found.append({"planned_s": planned, "measured_s": measured, "ratio": planned / measured})
        print(f"planned {planned:6.1f} s   measured {measured:6.1f} s   ratio {planned / measured:.2f}", flush=True)
    print(f"median ratio {statistics.median(row['ratio'] for row in found):.2f}, of {repeats}")
    if file:
        write_figures("plan", found, Path(file))


if __name__ == "__main__":
    main()
