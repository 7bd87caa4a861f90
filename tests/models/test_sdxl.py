"""An SDXL pair through the same interfaces: small weights in the published layout; the reference is diffusers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from evs_batch.models import loading, zoo
from evs_batch.models.families import FAMILIES
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import T2I, T2V
from evs_batch.models.places import Local
from evs_batch.spec.recipe import load_recipe
from tests.models import checkpoints
from tests.models.windows import windows_of

CPU = Hardware(torch.device("cpu"), torch.float32)
PROMPTS = ["a red star", "a cat"]
SDXL = FAMILIES["sdxl"]
Z = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> zoo.T2ISource:
    """A folder as stable-diffusion-xl-base-1.0 is."""
    folder = tmp_path_factory.mktemp("sdxl")
    torch.manual_seed(0)
    UNet2DConditionModel(
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 2), attention_head_dim=(2, 4, 8), cross_attention_dim=32 + 48,
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=40 + 6 * 8,
    ).save_pretrained(folder / "unet")  # fmt: skip
    checkpoints.vae().save_pretrained(folder / "vae")
    for suffix, width, kind in (("", 32, CLIPTextModel), ("_2", 48, CLIPTextModelWithProjection)):
        config = CLIPTextConfig(
            vocab_size=checkpoints.VOCABULARY, hidden_size=width, intermediate_size=64, num_hidden_layers=3,
            num_attention_heads=2, projection_dim=40, bos_token_id=0, eos_token_id=2, pad_token_id=1,
        )  # fmt: skip
        kind(config).save_pretrained(folder / f"text_encoder{suffix}")
        (checkpoints.tokenizer_folder(folder / "made") / "tokenizer").rename(folder / f"tokenizer{suffix}")
    return zoo.T2ISource(name="small SDXL", weights=Local(folder), family="sdxl")


def reference(source: zoo.T2ISource, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What diffusers' own pipeline gives the U-Net for a prompt."""
    (tokenizer, encoder), (tokenizer_2, encoder_2) = (loading.load_text_encoder(source, s) for s in ("", "_2"))
    unet, vae = loading.load_unet(source), loading.load_vae(source)
    pipeline: Any = StableDiffusionXLPipeline(
        vae, encoder, encoder_2, tokenizer, tokenizer_2, unet, zoo.scheduler(zoo.t2i_source("tiny"), 50)
    )  # pyright: ignore
    text, _, pooled, _ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False)
    return text, pooled


def test_prompts_are_embedded_as_diffusers_pipeline_does(source: zoo.T2ISource):
    made = SDXL.load_text(source, CPU, ())(PROMPTS)
    for packed, prompt in zip(made, PROMPTS, strict=True):
        text, pooled = reference(source, prompt)
        assert torch.allclose(packed[:-1], text[0], atol=1e-5)
        assert torch.allclose(packed[-1, :40], pooled[0], atol=1e-5)
    assert not SDXL.load_text(source, CPU, ())([""]).any(), "as the published model wants it"


def test_the_t2i_gets_text_pooled_text_and_size(source: zoo.T2ISource):
    unet = loading.load_unet(source)
    text = SDXL.load_text(source, CPU, ())(PROMPTS)
    t2i = T2I(unet, CPU, 2, call=SDXL.call)
    made = t2i.prompted(text, text, lambda _: 1.0, [1, 1])(Z, torch.tensor(300))
    for at, prompt in enumerate(PROMPTS):
        embedded, pooled = reference(source, prompt)
        conditions = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 96, 0, 0, 64, 96]])}
        with torch.no_grad():
            expected = loading.load_unet(source)(Z[at : at + 1], 300, embedded, added_cond_kwargs=conditions).sample
        assert torch.allclose(made[at], expected[0], atol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_t2v_runs_its_motion_module_on_the_same_weights(source: zoo.T2ISource, guidance: float, tmp_path: Path):
    torch.manual_seed(1)
    MotionAdapter(block_out_channels=(32, 64, 64), use_motion_mid_block=False).save_pretrained(tmp_path / "motion")
    t2v_source = zoo.T2VSource(name="small", base=source, motion=Local(tmp_path / "motion"))
    spatial = loading.shared_unet(source, (), CPU)
    motion = loading.load_motion_unet(t2v_source, spatial)
    text = SDXL.load_text(source, CPU, ())(PROMPTS)
    t2v = T2V(motion, CPU, spatial=spatial, call=SDXL.call)
    plans = [windows_of(4, width=4, overlap=0)] * 2
    made = t2v.prompted(text, text.flip(0), guidance, plans, [4, 4])(torch.cat([Z] * 4), torch.tensor(300))
    assert made.shape == (8, 4, 8, 12)
    assert torch.isfinite(made).all()
    assert motion.conv_in.weight.data_ptr() == spatial.conv_in.weight.data_ptr()


def test_the_zoo_names_the_pair():
    t2v = zoo.t2v_source("animatediff-sdxl")
    assert (t2v.base.name, t2v.base.family) == ("SDXL", "sdxl")
    assert load_recipe("enhance", ["t2i.model=SDXL", "t2v.model=animatediff-sdxl"]).t2i.model == "SDXL"
