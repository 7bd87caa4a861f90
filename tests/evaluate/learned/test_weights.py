import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from evs_batch.evaluate.learned import LEARNED, present
from evs_batch.evaluate.learned.__main__ import main
from evs_batch.evaluate.learned.networks.amt import AMT
from evs_batch.evaluate.learned.weights import convert_pickle
from evs_batch.spec.errors import ModelError


def test_a_published_pickle_is_converted_once_and_then_read(tmp_path):
    torch.save({"epoch": 300, "state_dict": AMT().state_dict()}, tmp_path / "amt-s.pth")
    with pytest.raises(ModelError, match="is a pickle, and pickles are not read; convert it: python -m evs_batch"):
        LEARNED["motion_smoothness"](tmp_path)
    assert convert_pickle(tmp_path / "amt-s.pth") == tmp_path / "amt-s.safetensors"
    LEARNED["motion_smoothness"](tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["amt-s.pth", "amt-s.safetensors"]


def test_the_command_converts_and_says_where_to(tmp_path, capsys):
    torch.save({"w": torch.ones(2).expand(3, 2)}, tmp_path / "DOVER.pth")
    assert main(["convert", str(tmp_path / "DOVER.pth")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'DOVER.safetensors'}\n"
    assert load_file(tmp_path / "DOVER.safetensors")["w"].shape == (3, 2)


def test_code_in_a_pickle_is_not_run(tmp_path, capsys):
    torch.save(Trap(tmp_path / "ran"), tmp_path / "amt-s.pth")
    assert main(["convert", str(tmp_path / "amt-s.pth")]) == 2
    assert "cannot be read as a pickle of tensors alone" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["amt-s.pth"]


class Trap:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


@pytest.mark.parametrize("content", [b"", b"no pickle at all"])
def test_what_is_no_pickle_is_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as a pickle"):
        convert_pickle(tmp_path / "x.pth")


def test_a_pickle_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 1}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match="has no named tensors"):
        convert_pickle(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("motion_smoothness", ["amt-s.safetensors", "huggingface.co/lalala125/AMT", "learned convert"]),
        ("subject_consistency", ["dino_vitbase16_pretrain.safetensors", "dl.fbaipublicfiles.com", "dino-vitb16"]),
        ("dover", ["DOVER.safetensors", "github.com/QualityAssessment/DOVER", "learned convert"]),
        ("aesthetic", ["siglip-so400m-patch14-384", "huggingface.co/google"]),
    ],
)
def test_what_is_missing_is_named_with_its_source_and_what_to_do(tmp_path, metric, told):
    with pytest.raises(ModelError, match="is missing") as caught:
        LEARNED[metric](tmp_path)
    assert all(part in str(caught.value) for part in told)


def test_foreign_tensors_are_refused_and_the_first_is_named(tmp_path):
    save_file({"x": torch.ones(1)}, tmp_path / "amt-s.safetensors")
    with pytest.raises(ModelError, match=r"214 tensors differ .* 'comb_block.0.bias': missing instead of \(18,\)"):
        LEARNED["motion_smoothness"](tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "amt-s.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        LEARNED["motion_smoothness"](tmp_path)


def test_the_metrics_whose_files_are_there_are_present(tmp_path):
    assert present(tmp_path) == []
    (tmp_path / "DOVER.pth").touch()
    (tmp_path / "amt-s.safetensors").touch()
    (tmp_path / "aesthetic_predictor_v2_5.safetensors").touch()
    assert present(tmp_path) == ["motion_smoothness", "dover"]
    (tmp_path / "siglip-so400m-patch14-384").mkdir()
    (tmp_path / "dino-vitb16").mkdir()
    assert present(tmp_path) == ["motion_smoothness", "subject_consistency", "dover", "aesthetic"]


def test_the_table_alone_imports_nothing_heavy():
    code = "import sys, evs_batch.evaluate.learned; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
