"""`python -m evs_batch.tiny train`: make the weights that ship in `evs_batch/tiny/weights/`."""

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """The tiny trained model family."""


@app.command()
def train(
    work: Path = typer.Option(Path("build/tiny"), help="Folder of clips, checkpoints and loss logs; resumes from it."),
    weights: Path | None = typer.Option(None, help="Where the weights go; default: into the package."),
    start: Path | None = typer.Option(None, help="Weights to go on from; their VAE is kept. Default: from nothing."),
    device: str | None = typer.Option(None, help="cpu or cuda; default: a GPU if there is one."),
) -> None:
    """Train all parts: some hours on 2 cores."""
    from evs_batch.tiny import WEIGHTS
    from evs_batch.tiny.train import train as train_all

    train_all(work, weights or WEIGHTS, device=device, start=start)


if __name__ == "__main__":
    app()
