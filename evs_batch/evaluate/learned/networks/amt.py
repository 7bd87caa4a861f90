"""AMT-S, a network that interpolates the frame half-way between two frames.

Li et al., "AMT: All-Pairs Multi-Field Transforms for Efficient Frame Interpolation", CVPR 2023. Layer sizes and key
names are those of MCG-NKU/AMT (networks/AMT-S.py, networks/blocks/), so that `amt-s` loads; the code is our own.
The moment is fixed to t = 0.5, the only one that AMT-S was trained for.
"""

# C channels, H/W cells of a level; P = H * W positions; flows are (x, y) pairs in cells, to frame 0 and then to frame 1

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, instance_norm, interpolate, leaky_relu

CHANNELS = (20, 32, 44, 56)  # of the image pyramid, at 1/2, 1/4, 1/8, 1/16
SIDE = 20  # channels that a decoder's residual block refines on their own
FLOWS = 3  # pairs of flow fields that the last decoder proposes
MATCH_CHANNELS = 84
MATCH_LEVELS = 4
MATCH_RADIUS = 3
MATCH_WIDTHS = ((32, 32, 1), (32, 64, 2), (64, 96, 2))  # in, out, stride
HIDDEN = 76
FLOW_FEATURES = 20
MATCH_FEATURES = 64
JOINT_FEATURES = 68
MOMENT = 0.5
STRIDE_PX = 16  # sides must be multiples of this
LEAK = 0.1


class AMT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        c1, c2, c3, c4 = CHANNELS
        self.feat_encoder = MatchEncoder()
        self.encoder = Pyramid()
        self.decoder4 = Decoder(2 * c4 + 1, 2 * c4, c3 + 4)
        self.decoder3 = Decoder(3 * c3 + 4, 3 * c3, c2 + 4)
        self.decoder2 = Decoder(3 * c2 + 4, 3 * c2, c1 + 4)
        self.decoder1 = Decoder(3 * c1 + 4, 3 * c1, 8 * FLOWS)
        self.update4 = Update(c3, 1)
        self.update3 = Update(c2, 2)
        self.update2 = Update(c1, 4)
        self.comb_block = nn.Sequential(
            nn.Conv2d(3 * FLOWS, 6 * FLOWS, 3, padding=1), nn.PReLU(6 * FLOWS), nn.Conv2d(6 * FLOWS, 3, 3, padding=1)
        )

    def forward(self, image0_1CHW: Tensor, image1_1CHW: Tensor) -> Tensor:
        """The unit-range frame between two, (1, 3, H, W); sides are multiples of STRIDE_PX."""
        mean = torch.cat([image0_1CHW, image1_1CHW]).mean()
        image0, image1 = image0_1CHW - mean, image1_1CHW - mean
        matches = Matches(*self.feat_encoder(torch.cat([image0, image1])).split(1))
        levels0, levels1 = self.encoder(image0), self.encoder(image1)

        half = torch.full_like(levels0[3][:, :1], MOMENT)
        flow, hidden = _flow_first(self.decoder4(torch.cat([levels0[3], levels1[3], half], 1)))
        flow, hidden = self.update4(flow, hidden, matches)
        for decoder, update, level in ((self.decoder3, self.update3, 2), (self.decoder2, self.update2, 1)):
            change, hidden = _flow_first(decoder(_aligned(hidden, levels0[level], levels1[level], flow)))
            flow, hidden = update(change + _scaled_flow(flow, 2), hidden, matches)
        out = self.decoder1(_aligned(hidden, levels0[0], levels1[0], flow))
        return self._combine(image0, image1, mean, out, _scaled_flow(flow, 2)).clamp(0, 1)

    def _combine(self, image0: Tensor, image1: Tensor, mean: Tensor, out: Tensor, flow: Tensor) -> Tensor:
        change0, change1, mask, residual = out.split([2 * FLOWS, 2 * FLOWS, FLOWS, 3 * FLOWS], 1)
        height, width = out.shape[-2:]

        def each(x: Tensor) -> Tensor:
            return x.reshape(FLOWS, -1, height, width)

        warped0 = warp(image0.expand(FLOWS, -1, -1, -1), each(change0) + flow[:, :2])
        warped1 = warp(image1.expand(FLOWS, -1, -1, -1), each(change1) + flow[:, 2:])
        weight = each(mask).sigmoid()
        candidates = weight * warped0 + (1 - weight) * warped1 + mean + each(residual)
        return candidates.mean(0, keepdim=True) + self.comb_block(candidates.reshape(1, -1, height, width))


class MatchEncoder(nn.Module):
    """Features at 1/8 for the all-pairs matching."""

    def __init__(self) -> None:
        super().__init__()
        width = MATCH_WIDTHS[0][0]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3)
        for at, (inputs, outputs, stride) in enumerate(MATCH_WIDTHS, 1):
            layer = nn.Sequential(Bottleneck(inputs, outputs, stride), Bottleneck(outputs, outputs, 1))
            self.add_module(f"layer{at}", layer)
        self.conv2 = nn.Conv2d(MATCH_WIDTHS[-1][1], MATCH_CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = instance_norm(self.conv1(x)).relu()
        for at in range(1, len(MATCH_WIDTHS) + 1):
            x = self.get_submodule(f"layer{at}")(x)
        return self.conv2(x)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.conv1 = nn.Conv2d(inputs, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1)
        self.conv3 = nn.Conv2d(inner, outputs, 1)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride)) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in (self.conv1, self.conv2, self.conv3):
            y = instance_norm(conv(y)).relu()
        return ((instance_norm(self.downsample(x)) if self.downsample else x) + y).relu()


class Pyramid(nn.Module):
    """Image features of four levels, from 1/2 to 1/16."""

    def __init__(self) -> None:
        super().__init__()
        for at, (inputs, outputs) in enumerate(zip((3, *CHANNELS), CHANNELS, strict=False), 1):
            level = nn.Sequential(conv_prelu(inputs, outputs, stride=2), conv_prelu(outputs, outputs))
            self.add_module(f"pyramid{at}", level)

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for at in range(1, len(CHANNELS) + 1):
            x = self.get_submodule(f"pyramid{at}")(x)
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """From features of one level to flows and features of the next finer one."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        up = nn.ConvTranspose2d(width, outputs, 4, stride=2, padding=1)
        self.convblock = nn.Sequential(conv_prelu(inputs, width), SideBlock(width), up)

    def forward(self, x: Tensor) -> Tensor:
        return self.convblock(x)


class SideBlock(nn.Module):
    """A residual block whose last SIDE channels get layers of their own (IFRNet, Kong et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv_prelu(width, width)
        self.conv2 = conv_prelu(SIDE, SIDE)
        self.conv3 = conv_prelu(width, width)
        self.conv4 = conv_prelu(SIDE, SIDE)
        self.conv5 = nn.Conv2d(width, width, 3, padding=1)
        self.prelu = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for wide, side in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            y = wide(y)
            y = torch.cat([y[:, :-SIDE], side(y[:, -SIDE:])], 1)
        return self.prelu(x + self.conv5(y))


class Update(nn.Module):
    """Correct flows and features by what the matching finds at the places that the flows point to."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale  # of this level's cells to the matching's
        found = 2 * MATCH_LEVELS * (2 * MATCH_RADIUS + 1) ** 2
        self.convc1 = nn.Conv2d(found, MATCH_FEATURES, 1)
        self.convf1 = nn.Conv2d(4, 2 * FLOW_FEATURES, 7, padding=3)
        self.convf2 = nn.Conv2d(2 * FLOW_FEATURES, FLOW_FEATURES, 3, padding=1)
        self.conv = nn.Conv2d(MATCH_FEATURES + FLOW_FEATURES, JOINT_FEATURES, 3, padding=1)
        self.gru = two_convs(JOINT_FEATURES + 4 + width, HIDDEN)
        self.feat_head = two_convs(HIDDEN, width)
        self.flow_head = two_convs(HIDDEN, 4)

    def forward(self, flow: Tensor, hidden: Tensor, matches: "Matches") -> tuple[Tensor, Tensor]:
        coarse_flow, coarse_hidden = _scaled_flow(flow, 1 / self.scale), _scaled(hidden, 1 / self.scale)
        found = _leaky(self.convc1(matches.around(coarse_flow)))
        moved = _leaky(self.convf2(_leaky(self.convf1(coarse_flow))))
        joint = _leaky(self.conv(torch.cat([found, moved], 1)))
        state = self.gru(torch.cat([joint, coarse_flow, coarse_hidden], 1))
        return (
            flow + _scaled_flow(self.flow_head(state), self.scale),
            hidden + _scaled(self.feat_head(state), self.scale),
        )


class Matches:
    """How well every cell of one frame matches every cell of the other, in four resolutions, in both directions."""

    def __init__(self, features0_1CHW: Tensor, features1_1CHW: Tensor) -> None:
        channels, self.height, self.width = features0_1CHW.shape[1:]
        match_PP = features0_1CHW[0].flatten(1).T @ features1_1CHW[0].flatten(1) / math.sqrt(channels)
        self.directions = [self._pyramid(match_PP), self._pyramid(match_PP.T)]

    def _pyramid(self, match_PP: Tensor) -> list[Tensor]:
        levels = [match_PP.reshape(-1, 1, self.height, self.width)]
        while len(levels) < MATCH_LEVELS:
            levels.append(avg_pool2d(levels[-1], 2))
        return levels

    def around(self, flow_14HW: Tensor) -> Tensor:
        """The matches in a window around where each cell moves to, if its motion is straight: (1, 2*4*49, H, W)."""
        y, x = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        here_2HW = torch.stack([x, y]).to(flow_14HW)
        to0, to1 = flow_14HW[0].split(2)
        # From t = 0.5, the way on to a frame is half of the way between the frames.
        ends = (here_2HW + to1 / (1 - MOMENT), here_2HW + to0 / MOMENT)
        found = [window(levels, end) for levels, end in zip(self.directions, ends, strict=True)]
        return torch.cat(found).reshape(1, -1, self.height, self.width)


def window(levels: list[Tensor], centre_2HW: Tensor) -> Tensor:
    """Each position's own map in `levels`, read in a window around its centre: (levels*49, P)."""
    reach = torch.arange(-MATCH_RADIUS, MATCH_RADIUS + 1).to(centre_2HW)
    offset = torch.stack(torch.meshgrid(reach, reach, indexing="ij"), -1)  # the slow index moves x, as in RAFT's code
    centre_P2 = centre_2HW.flatten(1).T
    found = []
    for level, map_P1HW in enumerate(levels):
        height, width = map_P1HW.shape[-2:]
        cells = centre_P2[:, None, None] / 2**level + offset
        grid = 2 * cells / cells.new_tensor([width - 1, height - 1]) - 1
        found.append(grid_sample(map_P1HW, grid, align_corners=True).flatten(1))
    return torch.cat(found, 1).T


def warp(x_NCHW: Tensor, flow_N2HW: Tensor) -> Tensor:
    """Read each pixel where its flow points to; past the border, the border."""
    height, width = x_NCHW.shape[-2:]
    y, x = (torch.linspace(-1, 1, size).to(x_NCHW) for size in (height, width))
    here = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    way = flow_N2HW.permute(0, 2, 3, 1) / flow_N2HW.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return grid_sample(x_NCHW, here + way, padding_mode="border", align_corners=True)


def conv_prelu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.PReLU(outputs))


def two_convs(inputs: int, outputs: int) -> nn.Sequential:
    first, last = nn.Conv2d(inputs, HIDDEN, 3, padding=1), nn.Conv2d(HIDDEN, outputs, 3, padding=1)
    return nn.Sequential(first, nn.LeakyReLU(LEAK), last)


def _leaky(x: Tensor) -> Tensor:
    return leaky_relu(x, LEAK)


def _flow_first(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[:, :4], x[:, 4:]


def _scaled(x: Tensor, scale: float) -> Tensor:
    return x if scale == 1 else interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


def _scaled_flow(flow: Tensor, scale: float) -> Tensor:
    return scale * _scaled(flow, scale)


def _aligned(hidden: Tensor, features0: Tensor, features1: Tensor, flow: Tensor) -> Tensor:
    return torch.cat([hidden, warp(features0, flow[:, :2]), warp(features1, flow[:, 2:]), flow], 1)
