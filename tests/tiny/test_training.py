from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from evs_batch.models import loading, zoo
from evs_batch.spec.recipe import Lora
from evs_batch.tiny import clips, data, losses
from evs_batch.tiny.fit import Schedule, fit
from evs_batch.tiny.train import Plan, train


def trained(folder: Path, steps: int, stop_at: int | None = None) -> torch.Tensor:
    """A line fitted to noisy points; interrupted at a step if asked."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    seen = []

    def loss(generator: torch.Generator) -> torch.Tensor:
        if stop_at is not None and len(seen) == stop_at:
            raise KeyboardInterrupt
        seen.append(1)
        x = torch.randn(8, 1, generator=generator)
        return (model(x) - 3 * x).square().mean()

    fit("line", model, loss, Schedule(steps=steps, learning_rate=0.05), folder)
    return model.weight.detach()


def test_an_interrupted_training_resumes_to_the_same_weights(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = trained(tmp_path / "a", 600)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", 600, stop_at=300)
    assert torch.equal(trained(tmp_path / "b", 600), whole)
    assert whole.item() == pytest.approx(3, abs=0.05)
    assert (tmp_path / "a" / "line.jsonl").read_text().count("loss") == 12


@pytest.mark.slow
def test_the_whole_family_trains_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clips, "SIZE_PX", 64)  # instead of 128
    monkeypatch.setattr(losses, "CROP_PX", 32)  # instead of 64
    monkeypatch.setattr(losses, "CELLS_PER_STEP", 4 * 16**2)  # 4 pictures in a step instead of 32
    monkeypatch.setattr(losses, "TEACHER_STEPS", 8)
    few = Schedule(steps=1, learning_rate=1e-4)
    plan = Plan(clips=1, vae=few, t2i=few, watercolor=few, motion=((0.5, few), (1.0, few)), motion_few=few, decoder=few)
    train(tmp_path / "work", tmp_path / "weights", plan, device="cpu")
    source = zoo.t2i_source(str(tmp_path / "weights"))
    vae = loading.load_vae(source)
    x = data.to_signed(np.load(tmp_path / "work" / "clips.npy")[:, 0])
    assert (vae.encode(x).latents * vae.config["scaling_factor"]).std().item() == pytest.approx(1, abs=0.01)
    decoder = loading.load_decoder(zoo.decoder_source(str(tmp_path / "weights" / "decoder"), source))
    assert torch.equal(decoder.encode(x).latents, vae.encode(x).latents), "it keeps the encoder"
    tokenizer, encoder = loading.load_text(source)
    assert tokenizer("a red star").input_ids[0] == tokenizer.bos_token_id
    assert encoder.config.hidden_size == 64
    watercolor = Lora(path=str(tmp_path / "weights" / "watercolor" / "pytorch_lora_weights.safetensors"))
    assert loading.load_unet(source, [watercolor]).config["block_out_channels"]
    for motion in ("motion", "motion_few"):
        t2v = zoo.t2v_source(str(tmp_path / "weights" / motion), base=source.name)
        assert loading.load_motion_unet(t2v, loading.load_unet(source)).config["motion_max_seq_length"] == 32
    assert not any(str(tmp_path) in config.read_text() for config in (tmp_path / "weights").rglob("config.json"))
    assert (tmp_path / "work" / "losses.png").read_bytes().startswith(b"\x89PNG")

    still = Schedule(steps=1, learning_rate=0.0)
    plan = Plan(clips=1, vae=few, t2i=still, watercolor=few, motion=((1.0, still),), motion_few=few, decoder=few)
    train(tmp_path / "later", tmp_path / "longer", plan, device="cpu", start=tmp_path / "weights")
    for part in ("vae", "text_encoder", "unet", "motion"):
        (file,) = (tmp_path / "weights" / part).glob("*.safetensors")
        before, after = load_file(file), load_file(tmp_path / "longer" / part / file.name)
        assert all(torch.equal(before[name], after[name]) for name in before), part
