"""The loss curves of a training as a picture."""

import json
from pathlib import Path

from matplotlib.figure import Figure

FEW = 3  # entries


def draw_losses(work: Path, picture: Path) -> None:
    """One panel for each `*.jsonl` of `fit` in `work`; long ones without their first entry, which dwarfs the rest."""
    logs = sorted(work.glob("*.jsonl"))
    figure = Figure(figsize=(3 * len(logs), 2.6), layout="constrained")
    panels = figure.subplots(1, len(logs), squeeze=False)[0]
    for panel, log in zip(panels, logs, strict=True):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        shown = lines[1:] if len(lines) > FEW else lines
        panel.plot([line["step"] for line in shown], [line["loss"] for line in shown], linewidth=1, marker=".")
        panel.set(title=log.stem, xlabel="step", yscale="log")
        panel.grid(alpha=0.3)
    figure.savefig(picture, dpi=110)
