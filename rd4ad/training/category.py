"""Train a method on the normal images of one category or several, and write its checkpoint."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rd4ad.catalogue import DEFAULT_METHOD
from rd4ad.config import Stop, TrainingConfig
from rd4ad.data.folders import Sample, open_category, split_holdout
from rd4ad.data.images import read_images
from rd4ad.inference.checkpoint import checked_name, replace_file
from rd4ad.inference.detector import Detector
from rd4ad.inference.prediction import Calibration
from rd4ad.inference.stored_weights import STORES
from rd4ad.inference.torch_engine import TorchEngine, round_weights
from rd4ad.methods.backbones import Teacher
from rd4ad.methods.method import Method, method_class, seeded, teacher_of
from rd4ad.training.session import OnProgress, Reporter, Session, remove_states


def train(
    data: str | Path,
    category: str | Sequence[str],
    config: TrainingConfig | None = None,
    *,
    out: str | Path,
    weights: str | Path | None = None,
    device: str = "cpu",
    cache_mib: int = 4096,
    store: str = "float32",
    skip_bad: bool = False,
    stop: Stop | None = None,
    on_progress: OnProgress | None = None,
    on_epoch: Callable[[Detector, int], bool] | None = None,
) -> Detector:
    """Train on `category`/train/good below `data`, write the checkpoint `out`, return the detector.

    With several categories, one model learns all of them, the setting called multi-class (You et
    al., UniAD, NeurIPS 2022): no image says of what it is, neither in training nor later. Only the
    threshold is a category's own; see `Detector.of_category`.

    >>> from tempfile import TemporaryDirectory
    >>> from rd4ad.data.parts import write_parts
    >>> with TemporaryDirectory() as folder:
    ...     write_parts(folder, categories=("bottle",), n_train=4, n_good=1, n_per_defect=1)
    ...     config = TrainingConfig(backbone="compact", size_px=64, epochs=1, holdout=0)
    ...     detector = train(folder, "bottle", config, out=Path(folder) / "bottle.safetensors")
    >>> detector.config["n_images"]
    4

    State files `.<name>.<stage>.state` beside `out` are written every two minutes; called again
    with the same arguments after a kill, training goes on from them. They are removed at the end.

    Args:
        data: folder of categories in MVTec layout.
        category: folder name below it, or several.
        config: see `TrainingConfig`; the released settings by default.
        out: checkpoint to write, ending in .safetensors.
        weights: file or folder of the teacher's weights; see `find_weights`.
        device: a torch device.
        cache_mib: teacher features up to this size are kept in memory, larger ones in a file.
        store: how the checkpoint keeps weights, float32, float16 or int8; the threshold is that
            of the rounded networks.
        skip_bad: leave out unreadable images instead of stopping; they are reported by name.
        stop: when training ends before its last epoch; of reverse distillation alone.
        on_progress: called after every step.
        on_epoch: called with the detector as it is and the epochs done; training ends if it says
            so. The detector is not calibrated and changes as training goes on.

    Raises:
        DatasetError: no such category, no normal images, or an unreadable image (without skip_bad).
        FileNotFoundError: no teacher weights.
        OSError: the folder of `out` cannot be written, or the disk is full.
        ValueError: a bad name for `out`, a state file that is damaged or of another configuration,
            a training that diverged, or a `stop` that this method or configuration cannot have.
    """
    config, out = config or TrainingConfig(), checked_name(out, ".safetensors")
    _check(config, store, stop)
    report = Reporter(on_progress)
    names = [category] if isinstance(category, str) else sorted(set(category))
    samples = {name: open_category(Path(data), name).train for name in names}
    _check_writable(out)
    normal = _read(samples, config, skip_bad, report)
    kept = np.concatenate([one.kept for one in normal.values()])
    held = np.concatenate([one.held for one in normal.values()])
    teacher, teacher_file = teacher_of(str(config.backbone), weights)
    record = record_of(config, names, len(kept), len(held), teacher_file["sha256"])
    record["n_threads"] = torch.get_num_threads()
    if torch.device(device).type == "cuda":
        record["device"] = torch.cuda.get_device_name(device)
    if stop:
        record["stop"] = asdict(stop)
    started = time.monotonic()
    method = new_method(config, record, teacher).to(device)

    def detector_so_far() -> Detector:
        return Detector(
            TorchEngine(method, device),
            size_px=config.size_px,
            scoring=config.scoring(),
            teacher_file=teacher_file,
            config=record,
        )

    def after_epoch(epochs_done: int) -> bool:
        return on_epoch is not None and on_epoch(detector_so_far(), epochs_done)

    with Session(
        config, out, record, device=device, cache_mib=cache_mib, report=report,
        stop=stop, held=held, on_epoch=after_epoch,
    ) as session:  # fmt: skip
        method.fit(kept, session)
    if stop:
        record["epochs_done"] = session.epochs_done
    round_weights(method.fitted_parts(), store)  # what is calibrated is what will be loaded
    record |= {
        "final_loss": session.final_loss,  # None: fitted in one pass
        "skipped": [message for one in normal.values() for message in one.skipped],
        "seconds": round(time.monotonic() - started, 1),
    }
    detector = detector_so_far()
    if len(held):
        own = {name: calibrate(detector, normal[name].held, config.quantile) for name in names}
        if len(names) > 1:
            detector.calibrations = own
        else:
            detector.calibration = own[names[0]]
    detector.save(out, store=store)
    remove_states(out)
    return detector


@dataclass(frozen=True)
class _Normal:
    """A category's normal images (N, S, S, 3), to learn from and held out, and what was skipped."""

    kept: NDArray[np.uint8]
    held: NDArray[np.uint8]
    skipped: tuple[str, ...]


def _read(
    samples: dict[str, tuple[Sample, ...]], config: TrainingConfig, skip_bad: bool, report: Reporter
) -> dict[str, _Normal]:
    """Read the categories' images and hold out the configured share of each."""
    total, before, found = sum(map(len, samples.values())), 0, {}

    def on_image(before: int, done: int, n: int) -> None:
        report("reading", before + done, total)

    for name, mine in samples.items():
        read = read_images(
            [sample.path for sample in mine],
            config.size_px,
            skip_bad=skip_bad,
            progress=partial(on_image, before),
        )
        before += len(mine)
        kept, held = split_holdout(len(read.images), config.holdout, config.seed)
        found[name] = _Normal(read.images[kept], read.images[held], read.skipped)
    return found


def _check(config: TrainingConfig, store: str, stop: Stop | None) -> None:
    if store not in STORES:
        raise ValueError(f"store must be one of {', '.join(STORES)}; got {store!r}")
    if stop and config.method != DEFAULT_METHOD:
        raise ValueError(f"only {DEFAULT_METHOD} can end early; {config.method} cannot")
    if stop and stop.patience and not config.holdout:
        raise ValueError("patience looks at held-out normal images: holdout must be over 0")


def _check_writable(out: Path) -> None:
    """Let what cannot be written fail before the work and not after it."""
    probe = out.with_name(f".{out.name}.probe")
    replace_file(probe, Path.touch)
    probe.unlink()


def new_method(config: TrainingConfig, record: dict[str, Any], teacher: Teacher | None) -> Method:
    """Return the method that a configuration names, untrained, with the weights of its seed.

    They lie channels last, as convolutions want them.

    Args:
        config: the settings.
        record: see `record_of`.
        teacher: the frozen network, for methods that have one.
    """
    with seeded(config.seed):
        method = method_class(config.method)(
            str(config.backbone),
            tuple(config.layers or ()),
            teacher=teacher,
            **record.get("settings", {}),
        )
    return method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def record_of(
    config: TrainingConfig,
    categories: Sequence[str],
    n_images: int,
    n_held_out: int,
    teacher_sha256: str,
) -> dict[str, Any]:
    """Return all that determines a training, as its checkpoint and runs record it.

    >>> record_of(TrainingConfig(seed=3), ["nut", "tile"], 10, 0, "")["category"]
    'nut+tile'

    Args:
        config: the settings.
        categories: names of the folders; one, or several in the multi-class setting.
        n_images: normal images trained on.
        n_held_out: held-out normal images.
        teacher_sha256: of the teacher's weight file; empty without one.
    """
    settings = method_class(config.method).settings_for(config, n_images)
    return (
        asdict(config)
        | {
            "category": "+".join(categories),
            "n_images": n_images,
            "n_held_out": n_held_out,
            "teacher_sha256": teacher_sha256,
        }
        | ({"categories": list(categories)} if len(categories) > 1 else {})
        | ({"settings": settings} if settings else {})
    )


def calibrate(detector: Detector, images: NDArray[np.uint8], quantile: float) -> Calibration:
    """Return the calibration from normal images (N, S, S, 3) that training never saw."""
    predictions = detector.judge(detector.distances(images))
    return Calibration(scores=tuple(sorted(p.score for p in predictions)), quantile=quantile)
