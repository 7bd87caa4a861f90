"""Draws docs/roofline.png from bench/roofline.json: python docs/make_roofline.py"""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
PEAK_TFLOPS, MEMORY_TB_S = 757.0, 4.3  # a large bf16 product; a copy on the device, bytes read and written
MARKS = {"convolution": "o", "product": "s", "attention": "^"}


def main() -> None:
    """Each kernel by its operations for a byte, in its fastest way."""
    rows = json.loads((ROOT / "bench" / "roofline.json").read_text())["rows"]
    rows = [row for row in rows if "tflops" in row and row["way"] != "fp8"]  # whose roof is twice as high
    fastest = {row["name"]: row for row in sorted(rows, key=lambda row: row["tflops"])}
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    intensity = np.geomspace(60, 3e4)
    axes.loglog(intensity, np.minimum(PEAK_TFLOPS, intensity * MEMORY_TB_S), color="black", linewidth=1)
    for kind, mark in MARKS.items():
        chosen = [row for row in fastest.values() if row["kind"] == kind]
        at = [1000 * row["tflop"] / row["gigabytes"] for row in chosen]
        axes.loglog(at, [row["tflops"] for row in chosen], mark, label=kind)
    axes.set(xlabel="operations for a byte of memory", ylabel="TFLOP/s", ylim=(150, 1000))
    axes.set_yticks([200, 300, 400, 600, 800], labels=["200", "300", "400", "600", "800"])
    axes.legend(loc="lower right")
    figure.savefig(ROOT / "docs" / "roofline.png", dpi=120)


if __name__ == "__main__":
    main()
