"""What determines a training, checked once, without torch."""

from dataclasses import dataclass

from rd4ad.scoring import Scoring, checked_layers

BACKBONE_NAMES = ("resnet18", "resnet34", "resnet50", "wide_resnet50_2", "compact")
LOSS_NAMES = ("flattened", "per_position")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All that determines a training, beside the images and the teacher's weights.

    Args:
        backbone: resnet18, resnet34, resnet50, wide_resnet50_2 (ImageNet) or compact (bundled)
        layers: teacher layers used in training, a choice of 1, 2, 3
        size_px: side in pixels to which images are resized, a multiple of 32
        epochs: passes over the normal images
        batch_size: images a step
        learning_rate: Adam's step size
        loss: flattened (released code) or per_position (the paper's text)
        seed: of initial weights, order and held-out choice
        holdout: share of normal images kept out of training to calibrate the threshold, in [0, 0.5]
        quantile: share of held-out normal scores under the threshold, in [0.5, 1]
        sigma_px: Gaussian smoothing of the anomaly map in pixels (released: 4 at every size)

    Raises:
        ValueError: a value outside its range.
    """

    backbone: str = "resnet18"
    layers: tuple[int, ...] = (1, 2, 3)
    size_px: int = 256
    epochs: int = 200  # hq-deng/RD4AD main.py
    batch_size: int = 16  # hq-deng/RD4AD main.py
    learning_rate: float = 0.005  # hq-deng/RD4AD main.py
    loss: str = "flattened"
    seed: int = 0
    holdout: float = 0.1
    quantile: float = 0.99
    sigma_px: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checked_layers(tuple(self.layers)))
        checked_size(self.size_px)
        Scoring(layers=self.layers, sigma_px=self.sigma_px)
        for name, choices in (("backbone", BACKBONE_NAMES), ("loss", LOSS_NAMES)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}"
                )
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("batch_size", 2, 1024),
            ("learning_rate", 1e-7, 1.0),
            ("seed", 0, 2**31 - 1),
            ("holdout", 0.0, 0.5),
            ("quantile", 0.5, 1.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in [{low}, {high}]; got {getattr(self, name)}")


def checked_size(size_px: int) -> int:
    """Return `size_px`, a multiple of 32 from 32 to 1024 (the networks halve it five times).

    >>> checked_size(256)
    256

    Raises:
        ValueError: anything else; the message gives the nearest size that works.
    """
    if size_px % 32 or not 32 <= size_px <= 1024:
        nearest = min(max(32, 32 * round(size_px / 32)), 1024)
        raise ValueError(
            f"size_px must be a multiple of 32 from 32 to 1024; got {size_px}, try {nearest}"
        )
    return size_px
