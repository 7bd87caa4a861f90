"""Synthetic clips with known ground truth: one textured shape that moves and turns over a textured background.

Everything is a pure function of a seed, so a held-out set is a range of seeds and no clip is ever stored.
"""

# F frames, H/W pixels, 3 colour channels

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf

SIZE_PX = 128
SUPERSAMPLE = 2
OUTLINE_PX = 3  # how far an outline's two motions are told apart badly
MARGIN_PX = 26.0  # how far from the edge the centre of a shape stays

COLOURS = {
    "red": (0.85, 0.16, 0.14),
    "green": (0.16, 0.62, 0.24),
    "blue": (0.16, 0.32, 0.85),
    "yellow": (0.92, 0.80, 0.18),
    "purple": (0.56, 0.22, 0.68),
    "orange": (0.95, 0.52, 0.12),
    "cyan": (0.16, 0.74, 0.78),
    "white": (0.92, 0.92, 0.90),
}
SHAPES = ("circle", "square", "triangle", "star")
TEXTURES = ("plain", "striped", "checkered", "dotted")
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}

# Disjoint seed ranges: training never sees what quality is measured on.
TRAIN_SEEDS = range(1_000_000, 2_000_000)
VALIDATION_SEEDS = range(2_000_000, 2_100_000)
HELD_OUT_SEEDS = range(3_000_000, 3_100_000)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one clip shows; lengths in pixels, angles in radians, speeds per frame."""

    shape: str
    colour: str
    texture: str
    background: str
    background_texture: str
    direction: str
    radius_px: float
    speed_px: float
    drift_px: float
    angle: float
    spin: float
    light: float
    offset_px: tuple[float, float]

    @property
    def caption(self) -> str:
        """The prompt that a perfect captioner would write."""
        return (
            f"a {self.colour} {self.texture} {self.shape} moving {self.direction} "
            f"on a {self.background} {self.background_texture} background"
        )


def scene(seed: int) -> Scene:
    """The scene of a seed."""
    rng = np.random.default_rng(seed)
    colour, background = rng.choice(list(COLOURS), 2, replace=False)
    return Scene(
        shape=str(rng.choice(SHAPES)),
        colour=str(colour),
        texture=str(rng.choice(TEXTURES)),
        background=str(background),
        background_texture=str(rng.choice(TEXTURES)),
        direction=str(rng.choice(list(DIRECTIONS))),
        radius_px=float(rng.uniform(30, 44)),
        speed_px=float(rng.uniform(0.8, 2.4)),
        drift_px=float(rng.uniform(-24, 24)),
        angle=float(rng.uniform(0, 2 * np.pi)),
        spin=float(rng.uniform(0.02, 0.06) * rng.choice((-1, 1))),
        light=float(rng.uniform(0, 2 * np.pi)),
        offset_px=(float(rng.uniform(0, 32)), float(rng.uniform(0, 32))),
    )


def render(scene: Scene, frames: int = 16, *, scale: int = 1) -> np.ndarray:
    """Draw a scene: (F, 128 * scale, 128 * scale, 3) uint8, anti-aliased by averaging 2x2 samples."""
    return np.stack([draw(scene, f, frames, scale=scale) for f in range(frames)])


def degrade(clip_FHW3: np.ndarray, seed: int) -> np.ndarray:
    """Damage a clip as weak video models do, each frame in its own way.

    Outlines wobble, texture fades in and out, brightness and colour drift, edges are soft: an autoencoder keeps all of
    it. Noise is that of a good camera; more would pass for sharpness.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    x_F3HW = torch.tensor(clip_FHW3).permute(0, 3, 1, 2).float() / 255
    frames, _, *size_px = x_F3HW.shape
    x_F3HW = _displace(x_F3HW, 1.5 * _field(normal(frames, 2, 8, 8), size_px))
    base = gaussian_blur(x_F3HW, 4.0)
    x_F3HW = base + (1 + 0.3 * _field(normal(frames, 1, 8, 8), size_px)) * (x_F3HW - base)
    x_F3HW = gaussian_blur(x_F3HW, uniform(1.0, 1.8))
    x_F3HW = x_F3HW * (1 + 0.01 * normal(frames, 1, 1, 1)) + 0.01 * normal(frames, 3, 1, 1)
    x_F3HW = x_F3HW + 0.06 * _field(normal(frames, 3, 12, 12), size_px) + 0.005 * normal(*x_F3HW.shape)
    return to_uint8(x_F3HW)


def soften(clip_FHW3: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur only: the lower-quality clips that the motion module is trained on."""
    x_F3HW = torch.tensor(clip_FHW3).permute(0, 3, 1, 2).float() / 255
    return to_uint8(gaussian_blur(x_F3HW, sigma_px))


def watercolor(frames_FHW3: np.ndarray) -> np.ndarray:
    """Paint over frames: paler pigment, soft within, that dried in dark rims where one patch meets another."""
    x_F3HW = torch.tensor(frames_FHW3).permute(0, 3, 1, 2).float() / 255
    patches = gaussian_blur(x_F3HW, 1.5)
    steps = torch.cat([nnf.pad(patches.diff(dim=d), (0, d == -1, 0, d == -2)).abs() for d in (-1, -2)], 1)
    rim = gaussian_blur(steps.amax(1, keepdim=True), 0.8)
    pale = 1 - 0.75 * (1 - patches)
    return to_uint8(pale * (1 - 5 * rim))


def backward_motion(scene: Scene, frame: int, frames: int, *, scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Where the content of `frame` was in the frame before it: the known motion of a scene drawn at `scale`.

    Gives source_HW2, pixel coordinates (x, y) in frame - 1, and inside_HW, which is false where the content was
    hidden or out of the picture, or lies on an outline, where two motions meet.
    """
    y, x = (np.mgrid[0 : SIZE_PX * scale, 0 : SIZE_PX * scale] + 0.5) / scale
    u, v = _figure_coordinates(scene, x, y, frame, frames)
    moved_x, moved_y = _picture_coordinates(scene, u, v, frame - 1, frames)
    on_figure = _inside(scene.shape, u, v)
    source = np.where(on_figure[..., None], np.stack([moved_x, moved_y], -1), np.stack([x, y], -1))
    was_figure = _inside(scene.shape, *_figure_coordinates(scene, x, y, frame - 1, frames))
    inside = (on_figure | ~was_figure) & np.all((source > 0.5) & (source < SIZE_PX - 0.5), axis=-1)
    on_outline = _near_edge(on_figure, OUTLINE_PX * scale) | _near_edge(was_figure, OUTLINE_PX * scale)
    return source * scale - 0.5, inside & ~on_outline


def gaussian_blur(x_NCHW: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Separable Gaussian blur with reflected borders."""
    half = int(np.ceil(3 * sigma_px))
    taps = torch.exp(-0.5 * (torch.arange(-half, half + 1) / sigma_px) ** 2)
    taps = (taps / taps.sum()).repeat(x_NCHW.shape[1], 1, 1, 1)
    padded = nnf.pad(x_NCHW, (half, half, half, half), mode="reflect")
    rows = nnf.conv2d(padded, taps, groups=x_NCHW.shape[1])
    return nnf.conv2d(rows, taps.transpose(2, 3), groups=x_NCHW.shape[1])


def _field(grid_NChw: torch.Tensor, size_px: Sequence[int]) -> torch.Tensor:
    """A smooth field over the picture from values on a coarse grid."""
    return nnf.interpolate(grid_NChw, list(size_px), mode="bicubic", align_corners=False)


def _displace(x_N3HW: torch.Tensor, shift_N2HW: torch.Tensor) -> torch.Tensor:
    """Move every pixel by a field of (x, y) shifts in pixels."""
    height, width = x_N3HW.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    at = torch.stack([x, y]) + 0.5 + shift_N2HW
    unit = 2 * at / torch.tensor([width, height])[:, None, None] - 1
    return nnf.grid_sample(x_N3HW, unit.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def to_uint8(x_N3HW: torch.Tensor) -> np.ndarray:
    """Pictures in 0..1 to (N, H, W, 3) uint8."""
    return (x_N3HW.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def draw(scene: Scene, frame: int, frames: int, *, scale: int = 1) -> np.ndarray:
    """One frame of a clip of `frames`: (128 * scale, 128 * scale, 3) uint8."""
    samples, side = SIZE_PX * SUPERSAMPLE * scale, SIZE_PX * scale
    y, x = (np.mgrid[0:samples, 0:samples].astype(np.float32) + 0.5) / (SUPERSAMPLE * scale)
    u, v = _figure_coordinates(scene, x, y, frame, frames)
    light = math.cos(scene.light) * (x / SIZE_PX - 0.5) + math.sin(scene.light) * (y / SIZE_PX - 0.5)

    dx, dy = scene.offset_px
    ground = _paint(scene.background, scene.background_texture, (x + dx) / 32, (y + dy) / 32, weight=0.22)
    ground = ground * (0.72 + 0.35 * light)[..., None]
    figure = _paint(scene.colour, scene.texture, u * 1.5, v * 1.5, weight=0.45)
    figure = figure * (1.0 - 0.25 * (u**2 + v**2) + 0.2 * light)[..., None]
    picture = np.where(_inside(scene.shape, u, v)[..., None], figure, ground)
    picture = picture.reshape(side, SUPERSAMPLE, side, SUPERSAMPLE, 3).mean(axis=(1, 3))
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def _figure_coordinates(
    scene: Scene, x: np.ndarray, y: np.ndarray, frame: int, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the picture to coordinates in which the shape stands still and has circumradius 1."""
    centre_x, centre_y = _centre(scene, frame, frames)
    cos, sin = _turn(scene, frame)
    u = (cos * (x - centre_x) + sin * (y - centre_y)) / scene.radius_px
    v = (-sin * (x - centre_x) + cos * (y - centre_y)) / scene.radius_px
    return u, v


def _picture_coordinates(
    scene: Scene, u: np.ndarray, v: np.ndarray, frame: int, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `_figure_coordinates`."""
    centre_x, centre_y = _centre(scene, frame, frames)
    cos, sin = _turn(scene, frame)
    x = centre_x + scene.radius_px * (cos * u - sin * v)
    y = centre_y + scene.radius_px * (sin * u + cos * v)
    return x, y


def _turn(scene: Scene, frame: int) -> tuple[float, float]:
    angle = scene.angle + scene.spin * frame
    return math.cos(angle), math.sin(angle)


def _near_edge(mask_HW: np.ndarray, reach_px: int) -> np.ndarray:
    """Whether a mask changes within some pixels."""
    mask = torch.tensor(mask_HW)[None, None].float()
    spread = nnf.max_pool2d(mask, 2 * reach_px + 1, 1, reach_px)
    shrunk = -nnf.max_pool2d(-mask, 2 * reach_px + 1, 1, reach_px)
    return (spread != shrunk)[0, 0].numpy()


def _centre(scene: Scene, frame: int, frames: int) -> tuple[float, float]:
    """Straight through the middle of the picture; the speed drops for long clips so that the shape stays visible."""
    reach = SIZE_PX / 2 - MARGIN_PX
    speed = min(scene.speed_px, 2 * reach / max(1, frames - 1))
    along = speed * (frame - (frames - 1) / 2)
    dx, dy = DIRECTIONS[scene.direction]
    across_x, across_y = abs(dy) * scene.drift_px, abs(dx) * scene.drift_px
    return SIZE_PX / 2 + dx * along + across_x, SIZE_PX / 2 + dy * along + across_y


def _paint(colour: str, texture: str, u: np.ndarray, v: np.ndarray, *, weight: float) -> np.ndarray:
    """A colour, darkened by `weight` where the texture (of period 1 in u and v) is set."""
    marks = {
        "plain": lambda: np.zeros_like(u),
        "striped": lambda: np.floor(u * 2) % 2,
        "checkered": lambda: (np.floor(u * 2) + np.floor(v * 2)) % 2,
        "dotted": lambda: ((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.09).astype(u.dtype),
    }[texture]()
    return np.asarray(COLOURS[colour], u.dtype) * (1 - weight * marks[..., None])


def _inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where a shape of circumradius 1 is."""
    radius, theta = np.hypot(u, v), np.arctan2(v, u)
    if shape == "circle":
        return radius < 0.9
    if shape == "star":
        return _inside_star(radius, theta)
    sides = {"triangle": 3, "square": 4}[shape]
    half = np.pi / sides
    return radius * np.cos(theta % (2 * half) - half) < np.cos(half)


def _inside_star(radius: np.ndarray, theta: np.ndarray, points: int = 5, inner: float = 0.5) -> np.ndarray:
    """Fold the plane onto half a point of the star, then ask on which side of its one edge we are."""
    half = np.pi / points
    folded = np.abs((theta + half) % (2 * half) - half)
    x, y = radius * np.cos(folded), radius * np.sin(folded)
    edge_x, edge_y = inner * np.cos(half) - 1, inner * np.sin(half)
    return edge_x * y - edge_y * (x - 1) > 0
