"""The input pipeline of pretraining, from JPEG bytes to a normalized batch, on one core.

python bench/input.py [--images DIR] [--json FILE]

All sides crop at random (area 0.08 to 1, aspect ratio 3/4 to 4/3), resize to 224 pixels, bilinear
with a kernel that grows where the image shrinks, flip half of the views, and end in batches of 64
float32 tensors, normalized. The JPEGs lie in memory; what is measured runs in one thread.

timm_crop_flip: timm's training transform on Pillow, its fast_collate, and the normalization of its
prefetcher. decode_floor: decoding the whole images and nothing else, by the fastest exact decoder
of OpenCV, torchvision and turbojpeg. torchvision_paper_aug: crop and flip of transforms v2 on
Pillow images; hue, saturation and brightness each times a factor from [0.6, 1.4] by Pillow's HSV
and tables (faster than v2's ColorJitter); PCA lighting; normalization. timm_randaugment: timm's
rand-m7-mstd0.5-inc1 behind its crop and flip, against RandAugment(magnitude=7, magnitude_std=0.5).
In raw, shrunk_cache: our crop and flip of copies whose shorter side has 256 pixels, as `shrink_to`
makes them, against those of the images.

Images: by default 64 windows of 500 x 375 pixels out of scikit-learn's two photographs, as JPEGs of
quality 92. Before the timing, our views of given boxes are compared with Pillow's.
"""

from __future__ import annotations

import io
import statistics
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import alternate, bench_parser, report, spread

if TYPE_CHECKING:
    from torch import Tensor

    from classification.augmentation import Augmentation
    from classification.tricks.trick import Trick

BATCH = 64
SIZES = (224, 160)
SHRUNK = 256
QUALITY = 92
TOLERANCE = 1.5
"""Largest difference to Pillow's views in levels of 255; the resize promises 1."""

Arm = Callable[[], Any]


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.add_argument("--images", type=Path, metavar="DIR", help="JPEGs to take, below this")
    arguments = parser.parse_args(argv)

    import cv2
    import torch

    from engine.allocator import keep_freed_memory

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # as in every process of a run; it serves all sides
    images = _images_of(arguments.images) if arguments.images else _photographs()
    difference = _difference(images)
    if difference > TOLERANCE:
        raise SystemExit(f"our views differ from Pillow's by {difference:.2f} levels of 255")

    seconds = alternate(_arms(images), rounds=arguments.rounds)
    decoders = [name for name in seconds if name.startswith("decode_")]
    fastest = min(decoders, key=lambda name: statistics.median(seconds[name]))
    seconds["decode_floor"] = seconds[fastest]
    pairs = {
        "timm_crop_flip": "crop_flip",
        "decode_floor": "crop_flip",
        "torchvision_paper_aug": "paper_aug",
        "timm_randaugment": "randaugment",
    }
    spreads = {}
    for size in SIZES:
        for peer, ours in pairs.items():
            theirs = peer if peer == "decode_floor" else f"{peer}_{size}"
            spreads[f"{peer}_{size}"] = spread(seconds, f"trickle_{ours}_{size}", theirs)
    rates = {name: len(images) / statistics.median(times) for name, times in seconds.items()}
    raw = {
        "images": len(images),
        "mean_kilobytes": statistics.mean(len(data) for data in images) / 1000,
        "largest_difference_to_pillow": difference,
        "fastest_decoder": fastest.removeprefix("decode_"),
        "images_per_second": rates,
        "shrunk_cache": spread(seconds, "trickle_shrunk_224", "trickle_crop_flip_224"),
        "spread": spreads,
        "seconds": seconds,
    }
    ratios = {peer: spreads[f"{peer}_{SIZES[0]}"]["ratio"] for peer in pairs}
    report("input", ratios=ratios, raw=raw, file=arguments.json)
    for name, found in spreads.items():
        print(f"{name}: {found['ratio']:.2f}, quartiles {found['q1']:.2f} to {found['q3']:.2f}")
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} images/s")


def _photographs() -> list[bytes]:
    import cv2
    import numpy as np
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    found = []
    for index in range(BATCH):
        photograph = photographs[index % 2]
        top = int(rng.integers(0, photograph.shape[0] - 375 + 1))
        left = int(rng.integers(0, photograph.shape[1] - 500 + 1))
        window = photograph[top : top + 375, left : left + 500, ::-1]
        encoded = cv2.imencode(".jpg", window, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        found.append(encoded.tobytes())
    return found


def _images_of(folder: Path) -> list[bytes]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if len(files) < BATCH:
        raise SystemExit(f"{folder} holds {len(files)} JPEGs; {BATCH} are needed")
    step = len(files) // BATCH
    return [file.read_bytes() for file in files[::step][:BATCH]]


def _arms(images: list[bytes]) -> dict[str, Arm]:
    from classification.augmentation import Augmentation
    from classification.tricks.rand_augment import RandAugment

    plain = Augmentation(color=0, lighting_std=0)
    usi = (RandAugment(magnitude=7, magnitude_std=0.5),)
    arms: dict[str, Arm] = {**_decoders(images)}
    for size in SIZES:
        arms[f"trickle_crop_flip_{size}"] = _trickle(images, size, plain)
        arms[f"timm_crop_flip_{size}"] = _timm(images, size, None)
        arms[f"trickle_paper_aug_{size}"] = _trickle(images, size, Augmentation())
        arms[f"torchvision_paper_aug_{size}"] = _torchvision(images, size)
        arms[f"trickle_randaugment_{size}"] = _trickle(images, size, plain, usi)
        arms[f"timm_randaugment_{size}"] = _timm(images, size, "rand-m7-mstd0.5-inc1")
    arms["trickle_shrunk_224"] = _trickle(_shrunk(images), 224, plain)
    return arms


def _shrunk(images: list[bytes]) -> list[bytes]:
    from benchmarks.pixels import EncodedImage
    from benchmarks.shrunk_images import shrunk

    opened = [EncodedImage(Path("image.jpg"), data) for data in images]
    return [shrunk(one, SHRUNK) or data for one, data in zip(opened, images, strict=True)]


def _decoders(images: list[bytes]) -> dict[str, Arm]:
    import cv2
    import numpy as np
    import torch
    from torchvision.io import decode_jpeg

    known: dict[str, Callable[[bytes], Any]] = {
        "decode_opencv": lambda data: cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB
        ),
        "decode_torchvision": lambda data: decode_jpeg(
            torch.frombuffer(bytearray(data), dtype=torch.uint8)
        ),
    }
    with suppress(ImportError):  # no wheel for this platform
        turbojpeg = import_module("turbojpeg")
        known["decode_turbojpeg"] = lambda data: turbojpeg.decompress(
            data, pixelformat=turbojpeg.PF.RGB
        )

    def all_by(decode: Callable[[bytes], Any]) -> Arm:
        return lambda: [decode(data) for data in images]

    return {name: all_by(decode) for name, decode in known.items()}


def _trickle(
    images: list[bytes], size: int, augmentation: Augmentation, tricks: tuple[Trick, ...] = ()
) -> Arm:
    """As `TrainingImages`, loader and data preprocessor do it, the reading of files apart."""
    import torch

    from backbones.preprocessing import IMAGENET_PAPER
    from benchmarks.pixels import EncodedImage
    from classification.augmentation import augment
    from classification.data import Normalizer, as_sample, batch_of
    from engine.randomness import SampleKey, sample_rng

    normalizer = Normalizer(IMAGENET_PAPER, channels_last=True)
    name, epochs = Path("image.jpg"), count()

    def sample(epoch: int, index: int) -> dict[str, Any]:
        view, lighting = augment(
            EncodedImage(name, images[index]),
            size=size,
            augmentation=augmentation,
            tricks=tricks,
            rng=sample_rng(0, SampleKey(epoch, index)),
        )
        return as_sample(view, index, lighting)

    def batch() -> Tensor:
        epoch = next(epochs)
        samples = (sample(epoch, index) for index in range(len(images)))
        normalized: Tensor = normalizer(batch_of(samples, len(images)))["images"]
        assert normalized.dtype == torch.float32
        return normalized

    return batch


def _timm(images: list[bytes], size: int, auto_augment: str | None) -> Arm:
    import torch
    from PIL import Image
    from timm.data import create_transform
    from timm.data.loader import fast_collate

    from backbones.preprocessing import IMAGENET_PAPER

    transform = create_transform(
        size,
        is_training=True,
        color_jitter=None,
        auto_augment=auto_augment,
        interpolation="bilinear",
        use_prefetcher=True,
    )
    mean = torch.tensor(IMAGENET_PAPER.mean).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_PAPER.std).view(1, 3, 1, 1)

    def batch() -> Tensor:
        samples = [
            (transform(Image.open(io.BytesIO(data)).convert("RGB")), index)
            for index, data in enumerate(images)
        ]
        found: Tensor = fast_collate(samples)[0].to(torch.float32).sub_(mean).div_(std)
        return found

    return batch


def _torchvision(images: list[bytes], size: int) -> Arm:
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import default_collate
    from torchvision.transforms import InterpolationMode, v2

    from backbones.preprocessing import IMAGENET_PAPER
    from classification.tricks.pca_lighting import PCA_EIGENVALUES, PCA_EIGENVECTORS

    steps = np.arange(256)
    vectors, values = torch.tensor(PCA_EIGENVECTORS), torch.tensor(PCA_EIGENVALUES)

    def scale_colors(image: Image.Image) -> Image.Image:
        hue, saturation, brightness = torch.empty(3).uniform_(0.6, 1.4).tolist()
        tables = (
            np.round(steps * hue) % 256,
            np.minimum(np.round(steps * saturation), 255),
            np.minimum(np.round(steps * brightness), 255),
        )
        table = np.concatenate(tables).astype(int).tolist()
        return image.convert("HSV").point(table).convert("RGB")

    def light(image: Tensor) -> Tensor:
        return image.add_((vectors @ (0.1 * torch.randn(3) * values)).view(3, 1, 1))

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, interpolation=InterpolationMode.BILINEAR, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.Lambda(scale_colors),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32),
            v2.Lambda(light),
            v2.Normalize(IMAGENET_PAPER.mean, IMAGENET_PAPER.std, inplace=True),
        ]
    )

    def batch() -> Tensor:
        opened = (Image.open(io.BytesIO(data)).convert("RGB") for data in images)
        found: Tensor = default_collate([transform(image) for image in opened])
        return found

    return batch


def _difference(images: list[bytes]) -> float:
    """The largest difference of our normalized views from Pillow's of the same boxes, in levels."""
    import numpy as np
    from PIL import Image

    from backbones.preprocessing import IMAGENET_PAPER
    from classification.augmentation import Augmentation
    from classification.tricks.random_resized_crop import random_crop_box
    from engine.randomness import SampleKey, sample_rng

    knobs = Augmentation(color=0, lighting_std=0, flip_probability=0)
    found = _trickle(images, SIZES[0], knobs)()
    worst = 0.0
    for index, data in enumerate(images):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        top, left, height, width = random_crop_box(
            sample_rng(0, SampleKey(0, index)),
            height=image.height,
            width=image.width,
            area=knobs.area,
            aspect_ratio=knobs.aspect_ratio,
        )
        part = image.crop((left, top, left + width, top + height))
        expected = np.asarray(part.resize((SIZES[0], SIZES[0]), Image.Resampling.BILINEAR), float)
        ours = found[index].numpy().transpose(1, 2, 0)
        levels = ours * np.array(IMAGENET_PAPER.std) + np.array(IMAGENET_PAPER.mean)
        worst = max(worst, float(np.abs(levels - expected).max()))
    return worst


if __name__ == "__main__":
    main()
