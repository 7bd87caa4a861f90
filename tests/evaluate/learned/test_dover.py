import functools
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ConvNextConfig, ConvNextModel

from evs_batch.evaluate.learned.dover import Dover, cells, enlarged, fragments, fuse, load, sample, technical_view
from evs_batch.evaluate.learned.networks import convnext, swin
from evs_batch.spec.errors import MediaError, ModelError
from tests.conftest import stripes

TECHNICAL = swin.Sizes(width=4, depths=(2, 1, 1, 1), heads=(1, 1, 2, 2))
AESTHETIC = convnext.Sizes(widths=(4, 8, 8, 16), depths=(1, 2, 1, 1))
FILE = "DOVER.safetensors"
RNG = np.random.default_rng
CPU = torch.device("cpu")


def network() -> Dover:
    return Dover(TECHNICAL, AESTHETIC)


def test_the_score_of_a_video_is_in_its_range(write_weights):
    assert 0 < load(write_weights(network(), FILE), TECHNICAL, AESTHETIC)(stripes(20, 240, 300)) < 100


def test_a_video_is_always_looked_at_in_the_same_places(write_weights, monkeypatch):
    monkeypatch.setattr(Dover, "technical", lambda _, clip: clip.mean())
    monkeypatch.setattr(Dover, "aesthetic", lambda _, clip: clip.mean())
    metric = load(write_weights(network(), FILE), TECHNICAL, AESTHETIC)
    video = RNG(1).integers(256, size=(100, 240, 240, 3), dtype=np.uint8)
    assert metric(video) == metric(video)


def test_the_index_of_offsets_in_published_files_is_no_weight(write_weights):
    folder = write_weights(network(), FILE)
    index = {"technical_backbone.layers.0.blocks.0.attn.relative_position_index": torch.zeros(4)}
    save_file({**load_file(folder / FILE), **index}, folder / FILE)
    load(folder, TECHNICAL, AESTHETIC)


def test_average_scores_fuse_to_50_and_the_views_have_their_shares():
    assert fuse(0.1107, -0.08285) == 50
    assert fuse(0.1107 + 0.07355, -0.08285) == pytest.approx(100 / (1 + math.exp(-0.6104)))
    assert fuse(0.1107, -0.08285 + 0.03774) == pytest.approx(100 / (1 + math.exp(-0.3896)))


def test_the_technical_view_is_three_clips_of_every_second_frame():
    frames = sample(count=300, segments=3, length=32, rng=RNG(0)).reshape(3, 32)
    assert (np.diff(frames) == 2).all()
    assert (frames // 100 == [[0], [1], [2]]).all()


def test_short_videos_begin_again_for_the_technical_view_and_stand_still_for_the_aesthetic_one():
    frames = sample(count=16, segments=3, length=32, rng=RNG(0)).reshape(3, 32)
    assert frames[:, :9].tolist() == [[(5 * clip + 2 * at) % 16 for at in range(9)] for clip in range(3)]
    assert (sample(count=16, segments=32, length=1, rng=RNG(0)) == 0).all()


def test_the_aesthetic_view_is_a_frame_from_each_of_32_segments():
    frames = sample(count=320, segments=32, length=1, rng=RNG(0))
    assert (frames // 10 == np.arange(32)).all()


def test_fragments_are_untouched_pixels_from_their_cell_of_the_grid():
    row, column = torch.meshgrid(torch.arange(350.0), torch.arange(420.0), indexing="ij")
    seen = fragments(torch.stack([row, column, row])[None], RNG(0))[0]
    assert seen.shape == (3, 224, 224)
    patches = seen.unflatten(1, (7, 32)).unflatten(3, (7, 32))  # channel, cell row, row, cell column, column
    assert (patches[0].diff(dim=1) == 1).all()
    assert (patches[1].diff(dim=3) == 1).all()
    assert (patches[0, :, 0, :, 0] // 50 == torch.arange(7)[:, None]).all()
    assert (patches[1, :, 0, :, 0] // 60 == torch.arange(7)).all()


def test_patches_never_leave_the_frame_and_small_frames_are_enlarged():
    for size in (32, 100, 224, 231, 640):
        grid, jitter = cells(size, RNG(0))
        assert grid.min() >= 0
        assert (grid[:, None] + jitter).max() + 32 <= max(size, 224)
    assert enlarged(torch.zeros(1, 3, 112, 224)).shape == (1, 3, 224, 448)
    assert (enlarged(torch.full((1, 3, 60, 60), 77.0)).unique() - 77).abs().max() <= 1


def test_the_views_are_normalised_as_for_imagenet():
    white = technical_view(np.full((8, 224, 224, 3), 255, np.uint8), RNG(0), CPU)
    assert [clip.shape for clip in white] == [(3, 32, 224, 224)] * 3
    expected = (255 - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor([58.395, 57.12, 57.375])
    torch.testing.assert_close(white[0][:, 5, 9, 9], expected)


def test_windows_can_be_put_together_again():
    x = torch.rand(16, 14, 21, 2)
    assert swin.into_windows(x).shape == (12, 8 * 7 * 7, 2)
    assert torch.equal(swin.out_of_windows(swin.into_windows(x), (16, 14, 21)), x)


def test_the_gate_counts_the_fragments_between_two_tokens():
    gate = swin.between_fragments((16, 56, 56), (0, 0, 0)).unflatten(1, swin.WINDOW).unflatten(4, swin.WINDOW)
    # A fragment is 8 tokens wide, a window 7: the second window begins with the last token of the first fragment.
    assert gate[0].max() == 0
    assert gate[1, 0, 0, 0, 0, 0, 0] == 0
    assert gate[1, 0, 0, 0, 7, 0, 1] == 1
    assert gate[9, 0, 0, 0, 0, 1, 1] == 2


def test_tokens_of_one_fragment_use_the_one_table_and_others_the_other():
    attention = swin.Attention(4, 1, gated=True)
    with torch.no_grad():
        attention.relative_position_bias_table.fill_(3)
        attention.fragment_position_bias_table.fill_(5)
        bias = attention._bias((16, 56, 56), (0, 0, 0))[:, 0]
    gate = swin.between_fragments((16, 56, 56), (0, 0, 0))
    assert (bias[gate == 0] == 5).all()
    assert (bias[gate == 1] == 3).all()
    assert (bias[gate == 2] == 1).all()


def test_tokens_that_only_the_shift_brought_together_do_not_meet():
    apart = swin.between_regions((16, 14, 14), (4, 3, 3)).unflatten(1, swin.WINDOW).unflatten(4, swin.WINDOW)
    assert not apart[0].any()
    assert not apart[-1, 0, 0, 0, 3, 3, 3]
    assert apart[-1, 0, 0, 0, 4, 0, 0]
    assert apart[-1, 0, 0, 0, 0, 4, 0]
    assert apart[-1, 0, 0, 0, 0, 0, 4]


def test_a_convnext_without_reach_in_time_is_the_one_that_transformers_has():
    from tests.evaluate.learned.conftest import randomised

    theirs = ConvNextModel(ConvNextConfig(hidden_sizes=list(AESTHETIC.widths), depths=list(AESTHETIC.depths)))
    theirs = randomised(theirs, spread=0.2)
    ours = convnext.ConvNeXt(AESTHETIC).eval()
    weights = {}
    for name, weight in theirs.state_dict().items():
        ours_name = functools.reduce(lambda known, pair: known.replace(*pair), _OUR_NAMES, name)
        weights[ours_name] = _in_time(weight, ours.state_dict()[ours_name].shape) if weight.ndim == 4 else weight
    ours.load_state_dict({**weights, "norm.weight": torch.ones(16), "norm.bias": torch.zeros(16)})
    clip = torch.randn(3, 4, 64, 64)
    with torch.no_grad():
        expected = theirs(clip[:, ::2].transpose(0, 1)).last_hidden_state
        expected = torch.nn.functional.layer_norm(expected.movedim(1, -1), (16,), eps=1e-6).permute(3, 0, 1, 2)
        torch.testing.assert_close(ours(clip), expected, atol=1e-4, rtol=1e-4)


_OUR_NAMES = (
    ("embeddings.patch_embeddings", "downsample_layers.0.0"),
    ("embeddings.layernorm", "downsample_layers.0.1"),
    ("encoder.stages.1.downsampling_layer", "downsample_layers.1"),
    ("encoder.stages.2.downsampling_layer", "downsample_layers.2"),
    ("encoder.stages.3.downsampling_layer", "downsample_layers.3"),
    ("encoder.", ""),
    (".layers.", "."),
    ("layer_scale_parameter", "gamma"),
    ("layernorm", "norm"),
)


def _in_time(weight_2d: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A kernel of 3D that looks at one frame: the middle one, or of a pair the first."""
    weight = torch.zeros(shape)
    weight[:, :, (shape[2] - 1) // 2] = weight_2d
    return weight


def test_too_small_frames_and_foreign_weights_are_refused(write_weights):
    folder = write_weights(network(), FILE)
    with pytest.raises(MediaError, match="dover needs sides of 32 px or more"):
        load(folder, TECHNICAL, AESTHETIC)(np.zeros((8, 31, 64, 3), np.uint8))
    with pytest.raises(ModelError, match="tensors differ from the layout"):
        load(folder)
