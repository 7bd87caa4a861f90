"""Commands that start no Ray."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from evs_batch.cli.main import app
from tests.commands import run_here as evs_batch
from tests.conftest import ROOT

PROGRAM = Path(sys.executable).parent / "evs-batch"


def test_recipes_are_listed_and_shown_resolved():
    assert "demo" in evs_batch("recipes").stdout
    shown = json.loads(evs_batch("recipes", "show", "demo").stdout)
    assert shown["t2v"]["model"] == "tiny"
    schema = json.loads(evs_batch("recipes", "schema").stdout)
    assert schema["properties"]["composition"]["enum"]


def test_the_demo_manifest_is_valid():
    assert "6 of 6 rows are good" in evs_batch("validate", ROOT / "manifests" / "demo.parquet").stderr


def test_validation_names_every_bad_row(make_manifest):
    manifest = make_manifest([{"uri": "a", "prompt": "b"}, {"uri": None, "prompt": "b"}, {"uri": "a", "prompt": ""}])
    done = evs_batch("validate", manifest, code=2)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "1 uri='None' must be a non-empty text fill it in" in lines
    assert "2 prompt='' must be a non-empty text fill it in" in lines
    assert "1 of 3 rows are good" in done.stderr


def test_validation_writes_a_copy_without_faults_and_the_faults_for_machines(make_manifest, tmp_path):
    manifest = make_manifest([{"uri": "a", "prompt": "b", "seed": -1}, {"uri": None, "prompt": "b", "seed": 2}])
    copy, faults = tmp_path / "clean.parquet", tmp_path / "faults.jsonl"
    done = evs_batch("validate", manifest, "--fix", copy, "--json", faults)
    assert "seed left out" in done.stdout
    assert [json.loads(line)["mended"] for line in faults.read_text().splitlines()] == [
        "seed left out", "row left out"
    ]  # fmt: skip
    assert "1 of 1 rows are good" in evs_batch("validate", copy).stderr


def test_nothing_is_written_over_what_is_read(tmp_path):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"uri": "a", "prompt": ""}\n')
    before = manifest.read_bytes()
    assert "let it end with .parquet" in evs_batch("validate", manifest, "--fix", manifest, code=2).stderr
    assert "is what is read" in evs_batch("validate", manifest, "--json", manifest, code=1).stderr
    assert "has no folder" in evs_batch("validate", manifest, "--json", tmp_path / "no" / "f", code=1).stderr
    assert manifest.read_bytes() == before
    evs_batch("validate", manifest, "--fix", tmp_path / "m.parquet")
    assert (
        "is what is read"
        in evs_batch("validate", tmp_path / "m.parquet", "--fix", tmp_path / "m.parquet", code=2).stderr
    )


def test_a_manifest_is_made_of_a_folder(make_video, tmp_path):
    make_video("a star-0.mp4", frames=2)
    made = tmp_path / "made.parquet"
    assert "have no prompt" in evs_batch("manifest", "create", tmp_path, "-o", made, code=2).stderr
    (tmp_path / "list.txt").write_text("A star\n")
    done = evs_batch("manifest", "create", tmp_path, "--prompts", tmp_path / "list.txt", "-o", made)
    assert "1 rows in" in done.stderr
    assert "1 of 1 rows are good" in evs_batch("validate", made).stderr
    assert (
        "let it end with .parquet" in evs_batch("manifest", "create", tmp_path, "-o", tmp_path / "m.csv", code=2).stderr
    )


def test_options_come_from_the_environment_and_no_colour_is_no_colour(monkeypatch, make_manifest, tmp_path):
    monkeypatch.setenv("EVS_VALIDATE_FIX", str(tmp_path / "clean.parquet"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    evs_batch("validate", make_manifest([{"uri": "a", "prompt": "b"}]))
    assert (tmp_path / "clean.parquet").is_file()
    done = subprocess.run([PROGRAM, "status", "nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "holds no run" in done.stderr
    assert "\x1b[31m" not in done.stderr


def test_json_goes_to_the_standard_output_alone_if_asked(make_manifest, make_video):
    done = evs_batch("validate", make_manifest([{"uri": "a", "prompt": ""}]), "--json", "-", code=2)
    assert json.loads(done.stdout)["code"] == "manifest"
    assert "must be a non-empty text" in done.stderr
    manifest = make_manifest([{"uri": str(make_video()), "prompt": "a star"}])
    done = evs_batch("plan", manifest, "--recipe", "enhance", "--gpus", "2", "--costs", "H200", "--json", "-")
    assert json.loads(done.stdout)["rows"]["all"] == 1
    assert "feasible" in done.stderr
    assert json.loads(evs_batch("recipes", "--json").stdout)["identity"] == "identity"
    lines = [json.loads(line) for line in evs_batch("models", "list", "--json").stdout.splitlines()]
    assert {"name": "TAESD", "role": "decoder", "gigabytes": 0.01}.items() <= next(
        line for line in lines if line["name"] == "TAESD"
    ).items()


def test_a_column_that_is_nearly_called_as_one_that_is_used_is_pointed_out(make_manifest):
    row = {"uri": "a", "prompt": "b", "Seeds": 5, "negativ_prompt": "c", "colour": "red", "speed": 1}
    said = evs_batch("validate", make_manifest([row])).stderr
    assert "column 'Seeds' is not used: did you mean 'seed'?" in said
    assert "column 'negativ_prompt' is not used: did you mean 'negative_prompt'?" in said
    assert "'colour'" not in said
    assert "'speed'" not in said


def test_validation_looks_at_videos_if_asked(make_manifest, make_video, tmp_path):
    rows = [{"uri": str(make_video()), "prompt": "a"}, {"uri": str(tmp_path / "none.mp4"), "prompt": "a"}]
    manifest = make_manifest(rows)
    assert "2 of 2 rows are good" in evs_batch("validate", manifest).stderr
    said = evs_batch("validate", manifest, "--videos", "10", code=2).stderr
    assert "1 of 2 videos that were looked at can be enhanced" in said
    assert "1 of 2 videos: MediaError" in said


def commands(of: Any, *names: str) -> Iterator[tuple[str, ...]]:
    """The names of all commands and groups below a group."""
    for name, command in getattr(of, "commands", {}).items():
        yield (*names, name)
        yield from commands(command, *names, name)


@pytest.mark.parametrize("names", [*commands(typer.main.get_command(app))], ids=" ".join)
def test_every_help_ends_with_examples(names: tuple[str, ...]):
    examples = evs_batch(*names, "--help").stdout.rpartition("Example")[2]
    assert f"evs-batch {names[0]}" in examples


def test_the_shell_completes():
    environment = {
        **os.environ,
        "_EVS_BATCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "evs-batch pl",
        "COMP_CWORD": "1",
    }
    done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plan"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "manifests/demo.parquet", "-r", "dmo", "-o", "o"], "did you mean 'demo'?"),
        (["run", "nowhere.parquet", "-r", "demo", "-o", "o"], "does not exist"),
        (["run", "manifests/demo.parquet", "-r", "demo", "-o", "o", "--set", "t2i.x=1"], "recipe key 't2i.x'"),
        (["run", "manifests/demo.parquet", "-r", "demo", "-o", "o", "--shard", "3/2"], "--shard 3/2"),
        (["run", "manifests/demo.parquet", "-r", "demo", "-o", "o", "--shard", "1/2", "--retry-failed"], "one driver"),
        (
            ["run", "manifests/demo.parquet", "-r", "demo", "-o", "o", "--set", "t2v.model=tinny"],
            "did you mean 'tiny'?",
        ),
        (["run", "manifests/demo.parquet", "-r", "demo", "-o", "o", "--set", "output.codec=h265"], "mean 'h264'?"),
        (["run", "manifests/demo.parquet", "-r", "demo", "-o", "o", "--set", "composition=T2I+T2W"], "mean 'T2I+T2V'?"),
        (["status", "nowhere"], "holds no run"),
        (["recipes", "show", "x"], "known: alternate, bivdiff"),
        (["runn"], "Did you mean 'run'?"),
    ],
)
def test_mistakes_cost_nothing_and_are_explained(arguments: list[str], said: str, tmp_path: Path):
    arguments = [str(tmp_path / "o") if argument == "o" else argument for argument in arguments]
    done = evs_batch(*arguments, code=2)
    assert said in done.stderr
    assert not (tmp_path / "o").exists()


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'torch', 'ray', 'pyarrow', 'diffusers', 'pydantic', 'fsspec'}"
    code = f"import sys, evs_batch, evs_batch.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


def test_the_public_names_are_there():
    import evs_batch as package

    assert all(getattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
