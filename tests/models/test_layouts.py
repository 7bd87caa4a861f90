"""Checkpoints in every layout that people have, loaded by the code that jobs run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from safetensors.torch import load_file, save_file

from evs_batch.models import loading, zoo
from evs_batch.models.places import Local
from evs_batch.spec.errors import ModelError
from tests.models import checkpoints

TEXT = torch.randn(2, 7, checkpoints.TEXT_WIDTH, generator=torch.Generator().manual_seed(0))
Z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder, and a single file beside it."""
    made = checkpoints.diffusers_folder(tmp_path_factory.mktemp("sd1"))
    checkpoints.sd1_file(made / "single.safetensors")
    return made


def sources(folder: Path) -> dict[str, zoo.T2ISource]:
    return {
        "folder": zoo.T2ISource(name="folder", weights=Local(folder)),
        "file": zoo.T2ISource(name="file", weights=Local(folder / "single.safetensors"), tokenizer=Local(folder)),
    }


def test_the_checkpoints_of_these_tests_have_the_names_of_the_published_ones(folder: Path):
    names = set(load_file(folder / "single.safetensors"))
    assert {
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.middle_block.1.proj_out.bias",
        "model.diffusion_model.output_blocks.8.2.conv.weight",
        "first_stage_model.decoder.up.3.block.0.conv1.weight",
        "first_stage_model.encoder.mid.attn_1.q.weight",
        "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc2.bias",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
    } <= names
    assert sum(name.startswith("model.diffusion_model.") for name in names) == 686, "as many as in Stable Diffusion 1.5"
    assert sum(name.startswith("first_stage_model.") for name in names) == 248


@pytest.mark.parametrize("layout", ["folder", "file"])
def test_a_t2i_is_the_same_from_a_folder_and_from_a_file(layout: str, folder: Path):
    source = sources(folder)[layout]
    unet: Any = loading.load_unet(source)
    vae: Any = loading.load_vae(source)
    tokenizer, encoder = loading.load_text(source)
    tokens = torch.tensor([tokenizer("a red star").input_ids])
    with torch.no_grad():
        expected = checkpoints.unet().eval()(Z, 300, TEXT).sample
        assert torch.allclose(unet.eval()(Z, 300, TEXT).sample, expected, atol=1e-5)
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
        assert torch.allclose(
            vae.eval().encode(x).latent_dist.mode(), checkpoints.vae().eval().encode(x).latent_dist.mode(), atol=1e-5
        )
        assert torch.allclose(
            encoder.eval()(tokens).last_hidden_state, checkpoints.text_encoder().eval()(tokens).last_hidden_state,
            atol=1e-5,
        )  # fmt: skip
    assert vae.config.scaling_factor == 0.18215


@pytest.mark.parametrize("layout", ["folder", "lightning", "animatediff", "animatediff of a training"])
def test_a_motion_module_is_the_same_in_every_layout(layout: str, folder: Path, tmp_path: Path):
    place = {
        "folder": lambda: checkpoints.motion_folder(tmp_path / "motion"),
        "lightning": lambda: checkpoints.diffusers_motion_file(tmp_path / "lightning.safetensors"),
        "animatediff": lambda: checkpoints.animatediff_file(tmp_path / "mm.safetensors"),
        "animatediff of a training": lambda: checkpoints.animatediff_file(
            tmp_path / "mm.safetensors", prefix="module."
        ),
    }[layout]()
    base = sources(folder)["folder"]
    source = zoo.T2VSource(name=layout, base=base, motion=Local(place))
    made: Any = loading.load_motion_unet(source, loading.load_unet(base))
    expected = checkpoints.motion().state_dict()
    found = {name: value for name, value in made.state_dict().items() if "motion_modules" in name}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    clip = Z.transpose(0, 1)[None]
    with torch.no_grad():
        assert made(clip, 300, TEXT).sample.shape == clip.shape


def test_version_3_has_no_motion_in_the_middle(folder: Path, tmp_path: Path):
    base = sources(folder)["folder"]
    motion = Local(checkpoints.animatediff_file(tmp_path / "v3_sd15_mm.safetensors", mid_block=False))
    made = loading.load_motion_unet(zoo.T2VSource(name="v3", base=base, motion=motion), loading.load_unet(base))
    assert not any(name.startswith("mid_block.motion_modules") for name in made.state_dict())


def changed(folder: Path, path: Path, **changes: torch.Tensor) -> zoo.T2ISource:
    """The single file with some tensors replaced or added."""
    tensors = load_file(folder / "single.safetensors")
    save_file({**tensors, **changes}, path)
    return zoo.T2ISource(name="changed", weights=Local(path), tokenizer=Local(folder))


ROOT = "model.diffusion_model."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({f"{ROOT}label_emb.0.0.weight": torch.zeros(1)}, "Stable Diffusion XL"),
        ({f"{ROOT}input_blocks.1.1.proj_in.weight": torch.zeros(32, 32)}, "Stable Diffusion 2"),
        ({f"{ROOT}input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}, "9 input channels"),
        ({f"{ROOT}out.2.weight": torch.zeros(4, 16, 3, 3)}, "cannot be loaded"),
    ],
)
def test_a_checkpoint_of_another_kind_is_named(changes: dict, said: str, folder: Path, tmp_path: Path):
    with pytest.raises(ModelError, match=said):
        loading.load_unet(changed(folder, tmp_path / "other.safetensors", **changes))


def test_a_file_that_lacks_tensors_says_which(folder: Path, tmp_path: Path):
    tensors = load_file(folder / "single.safetensors")
    lost = f"{ROOT}middle_block.0.in_layers.2.weight"
    save_file({name: value for name, value in tensors.items() if name != lost}, tmp_path / "cut.safetensors")
    source = zoo.T2ISource(name="cut", weights=Local(tmp_path / "cut.safetensors"))
    with pytest.raises(ModelError, match=r"lacks 1 tensors such as mid_block\.resnets\.0\.conv1\.weight"):
        loading.load_unet(source)
    save_file({"x": torch.zeros(1)}, tmp_path / "no.safetensors")
    with pytest.raises(ModelError, match="no checkpoint of Stable Diffusion 1"):
        loading.load_unet(zoo.T2ISource(name="no", weights=Local(tmp_path / "no.safetensors")))


def test_a_pickle_is_read_only_if_it_is_allowed_by_name(folder: Path, tmp_path: Path):
    torch.save({"state_dict": load_file(folder / "single.safetensors")}, tmp_path / "old.ckpt")
    source = zoo.T2ISource(name="old", weights=Local(tmp_path / "old.ckpt"))
    with pytest.raises(ModelError, match=r"is a pickle.*runtime\.pickles = \['old\.ckpt'\]"):
        loading.load_unet(source)
    with pytest.raises(ModelError, match="is a pickle"):
        loading.load_unet(source, pickles=("other.ckpt",))
    loaded = loading.load_unet(source, pickles=("old.ckpt",))
    assert torch.equal(loaded.state_dict()["conv_in.weight"], checkpoints.unet().state_dict()["conv_in.weight"])


class Bomb:
    def __reduce__(self):
        return print, ("boom",)


def test_an_allowed_pickle_still_cannot_run_programs(tmp_path: Path, capsys: pytest.CaptureFixture):
    torch.save({"state_dict": {"x": Bomb()}}, tmp_path / "evil.ckpt")
    with pytest.raises(ModelError, match="other things than tensors"):
        loading.load_unet(zoo.T2ISource(name="evil", weights=Local(tmp_path / "evil.ckpt")), pickles=("evil.ckpt",))
    assert "boom" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_checkpoint_of_full_size_loads_and_two_roles_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Weights in the very shapes of Stable Diffusion 1.5, half precision: 1.7 GB of U-Net."""
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, **_: tensor)  # the file has all the weights
    shapes = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}
    with init_empty_weights():
        full, adapter = UNet2DConditionModel(**shapes), MotionAdapter()
    names = {f"{ROOT}{checkpoints._unet_name(name)}": p.shape for name, p in full.named_parameters()}
    save_file({n: torch.zeros(shape, dtype=torch.float16) for n, shape in names.items()}, tmp_path / "v1-5.safetensors")
    unet: Any = loading.load_unet(zoo.t2i_source(str(tmp_path / "v1-5.safetensors")))
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964, "as many as Stable Diffusion 1.5 has"
    assert unet.dtype == torch.float16
    zeros = {n: torch.zeros(p.shape, dtype=torch.float16) for n, p in adapter.state_dict().items()}
    save_file(zeros, tmp_path / "lightning.safetensors")
    motion = loading.load_motion_unet(zoo.t2v_source(str(tmp_path / "lightning.safetensors")), unet)
    assert motion.conv_in.weight.data_ptr() == unet.conv_in.weight.data_ptr()
