"""First-frame attention: what each frame of a clip sees."""

import pytest
import torch
from torch import Tensor

from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import T2I
from tests.models import checkpoints

CPU = Hardware(torch.device("cpu"), torch.float32)
TEXT = torch.randn(2, 7, checkpoints.TEXT_WIDTH, generator=torch.Generator().manual_seed(0))
Z = torch.randn(9, 4, 8, 8, generator=torch.Generator().manual_seed(1))
T = torch.tensor(300)


def predicted(z: Tensor, lengths: list[int], *, first_frame: bool = True, guidance: float = 1.0) -> Tensor:
    t2i = T2I(checkpoints.unet().eval(), CPU, frames_per_forward=4, first_frame=first_frame)
    clips = TEXT[: len(lengths)]
    return t2i.prompted(clips, clips.flip(0), lambda _: guidance, lengths)(z, T)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_every_frame_depends_on_itself_and_the_first_one_alone(guidance: float):
    before = predicted(Z[:6], [6], guidance=guidance)
    changed = Z[:6].clone()
    changed[4] += 1
    after = predicted(changed, [6], guidance=guidance)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True] * 4 + [False, True]
    changed[0] += 1
    assert not any(torch.equal(a, b) for a, b in zip(before, predicted(changed, [6], guidance=guidance), strict=True))


def test_a_still_clip_is_what_plain_attention_makes_of_it():
    still = Z[:1].repeat(6, 1, 1, 1)
    assert torch.allclose(predicted(still, [6]), predicted(still, [6], first_frame=False), atol=1e-5)


def test_a_clip_does_not_see_its_batch_mates():
    together = predicted(Z, [5, 4])
    assert torch.equal(together[:5], predicted(Z[:5], [5]))
    assert not torch.equal(together[5:], predicted(Z[5:], [4])), "its prompt is the second one"
    other = Z.clone()
    other[:5] += 1
    assert torch.equal(together[5:], predicted(other, [5, 4])[5:])


def test_the_weights_are_not_copied_and_other_users_keep_their_attention():
    unet = CPU.hold(checkpoints.unet())
    before = unet(Z[:2], T, TEXT).sample
    t2i = T2I(unet, CPU, frames_per_forward=4, first_frame=True)
    assert t2i._unet.conv_in.weight.data_ptr() == unet.conv_in.weight.data_ptr()
    assert torch.equal(unet(Z[:2], T, TEXT).sample, before)
