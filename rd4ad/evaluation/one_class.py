"""One-class novelty detection (the paper's section 4.2): a class is normal, all others are novel.

A class is a category of `rd4ad.training.category` and `rd4ad.evaluation.category` without files of
its own: the same method, session, detector and run folder. Two things differ. The score is the sum
of the unsmoothed anomaly map. And gray images are, as in the released code, not normalized as for
ImageNet: there the teacher undoes what the detector does, so a checkpoint of such a detector would
mislead whoever loads it, and none is written.

A sum needs one value a layer and image, the mean of the upsampled distance map. So the run keeps
these means as maps of 1x1, a thirtieth of the size, and every layer subset follows from them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rd4ad.catalogue import NO_BACKBONE, entry_of
from rd4ad.config import TrainingConfig
from rd4ad.data.folders import DatasetError, Sample, split_holdout
from rd4ad.data.one_class import (
    NORMALIZATIONS,
    PROTOCOL,
    LabeledImages,
    NoveltySet,
    SplitName,
    picked,
    read_split,
    set_named,
)
from rd4ad.evaluation.category import EvaluationSet, determined_by, image_table, run_record
from rd4ad.inference.detector import Detector
from rd4ad.inference.torch_engine import TorchEngine, normalize, round_weights
from rd4ad.methods.backbones import Teacher
from rd4ad.methods.method import teacher_of
from rd4ad.metrics import image_metrics
from rd4ad.metrics.category import MetricRow, category_metrics, curve_points
from rd4ad.runs.comparison import with_intervals
from rd4ad.runs.run import Run, decode, encode
from rd4ad.runs.store import read_run, run_id, write_run
from rd4ad.scoring import Maps, Scoring, fused_maps, layers_name, scaled_sigma, scores
from rd4ad.training.category import calibrate, new_method, record_of
from rd4ad.training.session import OnProgress, Reporter, Session, TrainingProgress, remove_states

OF_MAX = "exact, of the map's maximum"
"""Definition of `image_auroc_of_max`, which is there to compare the two scores."""
OnRun = Callable[[Run, bool], None]
_BATCH = 128  # 32 px: more images a pass than at 256 px


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """All that determines the metrics of a class, beside its images and the teacher's weights.

    >>> Protocol(dataset="mnist").normalization, Protocol(dataset="mnist").scoring().score
    ('none', 'sum')

    Args:
        dataset: a key of `rd4ad.data.one_class.NOVELTY_SETS`.
        config: see `TrainingConfig`; of 32 px, no smoothing and `PROTOCOL`'s epochs by default.
        normalization: "imagenet" or "none"; the dataset's own in the released code by default.
        n_train: so many training images of the class, evenly spaced; 0 for all.
        n_test: so many test images, evenly spaced; 0 for all.

    Raises:
        ValueError: a value outside those named.
    """

    dataset: str
    config: TrainingConfig = field(default_factory=lambda: TrainingConfig(**PROTOCOL))  # type: ignore[arg-type]
    normalization: str = ""
    n_train: int = 0
    n_test: int = 0

    def __post_init__(self) -> None:
        own = self.normalization or set_named(self.dataset).normalization
        object.__setattr__(self, "normalization", own)
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {', '.join(NORMALIZATIONS)}; got {own!r}"
            )
        if min(self.n_train, self.n_test) < 0:
            raise ValueError("n_train and n_test are numbers of images, 0 for all")
        if self.config.backbone == NO_BACKBONE or entry_of(self.config.method).score == "image":
            raise ValueError(
                f"{self.config.method} has no teacher, or a score of its own: expected a method "
                "whose anomaly map of a teacher's features can be summed"
            )

    def scoring(self) -> Scoring:
        """Return how an image is scored: by the sum of its unsmoothed anomaly map."""
        return replace(self.config.scoring(), score="sum")


def measure(
    protocol: Protocol,
    classes: Sequence[str],
    *,
    data: str | Path,
    results: str | Path = "results",
    weights: str | Path | None = None,
    device: str = "cpu",
    download: bool = False,
    detectors: Path | None = None,
    on_progress: OnProgress | None = None,
    on_run: OnRun = lambda run, is_new: None,
) -> list[Run]:
    """Train on each class as the normal one, test it against all, store and return the runs.

    A class whose run is stored already is not measured again, and one that was stopped goes on from
    its state below `results`/.novelty.

    Args:
        protocol: see `Protocol`.
        classes: names among the dataset's.
        data: folder of datasets, see `rd4ad.data.one_class`.
        results: folder of results.
        weights: file or folder of the teacher's weights; see `find_weights`.
        device: a torch device.
        download: let torchvision fetch what is not there.
        detectors: folder to keep detectors in, `<dataset>_<class>.safetensors` with 8-bit weights;
            only where images are normalized as for ImageNet, which every checkpoint implies.
        on_progress: called after every step; its stage begins with the class.
        on_run: called with a class's run, and whether it was measured now.

    Raises:
        DatasetError: the dataset is not there, or damaged.
        FileNotFoundError: no teacher weights.
        OSError: `results` or `detectors` cannot be written.
        ValueError: no such class, detectors wanted without normalization, or a training that
            diverged.
    """
    chosen, results = set_named(protocol.dataset), Path(results)
    for name in classes:
        if name not in chosen.classes:
            raise ValueError(
                f"{chosen.title} has the classes {', '.join(chosen.classes)}; got {name!r}"
            )
    if detectors and protocol.normalization != "imagenet":
        raise ValueError(
            "a checkpoint's images are normalized as for ImageNet: keep detectors with "
            "--normalization imagenet, or measure without keeping them"
        )
    source = _Source(chosen, Path(data), protocol.config.size_px, download)
    test = source.read("test", at_most=protocol.n_test)
    teacher, teacher_file = teacher_of(str(protocol.config.backbone), weights)
    assert teacher is not None  # Protocol refuses methods without
    if protocol.normalization == "none":
        undo_imagenet_normalization(teacher)
    runs = []
    for name in classes:
        images = source.read("train", only=name, at_most=protocol.n_train).images
        one = _OneClass(protocol, name, images, teacher, teacher_file, device)
        keep = detectors / f"{protocol.dataset}_{name}.safetensors" if detectors else None
        folder = results / "runs" / one.run_id
        is_new = not folder.is_dir() or (keep is not None and not keep.exists())
        run = one.measure(test, results, keep, on_progress) if is_new else read_run(folder)
        on_run(run, is_new)
        runs.append(run)
    return runs


@dataclass(frozen=True)
class _Source:
    """A dataset on disk, or to be fetched."""

    chosen: NoveltySet
    data: Path
    size_px: int
    download: bool

    def read(self, split: SplitName, only: str | None = None, at_most: int = 0) -> LabeledImages:
        is_cifar = self.chosen.home == "cifar-10-batches-py"
        fetched = _by_torchvision(self, split) if self.download or is_cifar else None
        if fetched is not None and is_cifar:
            images, labels = np.asarray(fetched.data), np.asarray(fetched.targets)
            return picked(images, labels, self.chosen, split, self.size_px, only, at_most)
        return read_split(
            self.data, self.chosen, split, self.size_px, only=only, at_most=at_most
        )  # fmt: skip


def _by_torchvision(source: _Source, split: SplitName) -> Any:
    from rd4ad.methods.vision import datasets

    kinds = {
        "MNIST": datasets.MNIST,
        "FashionMNIST": datasets.FashionMNIST,
        "CIFAR-10": datasets.CIFAR10,
    }
    title = source.chosen.title
    if title not in kinds:
        raise DatasetError(f"{title} cannot be downloaded: put it at {source.chosen.home}")
    try:
        return kinds[title](source.data, train=split == "train", download=source.download)
    except RuntimeError as error:
        raise DatasetError(
            f"torchvision has no whole {title} below {source.data} ({str(error).splitlines()[0]}): "
            "put its files there, or run with --download where there is a network"
        ) from error


def undo_imagenet_normalization(teacher: Teacher) -> None:
    """Let a teacher undo the normalization of its input: it sees levels in [0, 1].

    >>> teacher, _ = teacher_of("compact")
    >>> undo_imagenet_normalization(teacher)
    >>> seen = []
    >>> _ = teacher.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    >>> _ = teacher(normalize(np.full((1, 32, 32, 3), 51, np.uint8)))
    >>> round(float(seen[0].min()), 4), round(float(seen[0].max()), 4)
    (0.2, 0.2)
    """
    black, white = normalize(np.array([0, 255], np.uint8).repeat(3).reshape(2, 1, 1, 3))

    def undo(_: torch.nn.Module, given: tuple[torch.Tensor]) -> torch.Tensor:
        low, high = (ends.to(given[0].device) for ends in (black, white))
        return (given[0] - low) / (high - low)

    teacher.register_forward_pre_hook(undo)


class _OneClass:
    """A class of a dataset as the normal one: a method to fit, and all that determines its run."""

    def __init__(
        self, protocol: Protocol, name: str, images: NDArray[np.uint8], teacher: Teacher,
        teacher_file: dict[str, str], device: str,
    ) -> None:  # fmt: skip
        config = protocol.config
        self.protocol, self.name, self.images, self.device = protocol, name, images, device
        self.teacher_file = teacher_file
        self.kept, self.held = split_holdout(len(images), config.holdout, config.seed)
        counts = len(self.kept), len(self.held)
        self.record = record_of(config, [name], *counts, teacher_file["sha256"]) | {
            "normalisation": protocol.normalization,
            "n_train": protocol.n_train,
            "n_test": protocol.n_test,
            "n_threads": torch.get_num_threads(),
        }
        self.method = new_method(config, self.record, teacher).to(device)
        title = set_named(protocol.dataset).title
        self.determining = determined_by(self._detector(), title, name)
        self.run_id = run_id(self.determining)

    def _detector(self) -> Detector:
        return Detector(
            TorchEngine(self.method, self.device),
            size_px=self.protocol.config.size_px,
            scoring=self.protocol.scoring(),
            teacher_file=self.teacher_file,
            config=self.record,
        )

    def measure(
        self, test: LabeledImages, results: Path, keep: Path | None, on_progress: OnProgress | None
    ) -> Run:
        """Fit, keep the detector where that is wanted, score the test images, store the run."""
        report = Reporter(_named(self.name, on_progress))
        state = results / ".novelty" / f"{self.run_id}.safetensors"
        state.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        config = self.protocol.config
        with Session(config, state, self.record, device=self.device, report=report) as session:
            self.method.fit(self.images[self.kept], session)
        if keep:
            round_weights(self.method.fitted_parts(), "int8")  # what is measured will be loaded
        self.record |= {
            "final_loss": session.final_loss,
            "seconds": round(time.monotonic() - started, 1),
        }
        detector = self._detector()
        if len(self.held):
            detector.calibration = calibrate(detector, self.images[self.held], config.quantile)
        if keep:
            detector.save(keep, store="int8")
        run = self._evaluated(detector, test, results, report)
        remove_states(state)
        with suppress(OSError):  # another class waits there to go on
            state.parent.rmdir()
        return run

    def _evaluated(
        self, detector: Detector, test: LabeledImages, results: Path, report: Reporter
    ) -> Run:
        started = time.monotonic()
        labels = (test.classes != self.name).astype(int)
        distances = detector.distances(
            test.images, batch_size=_BATCH, progress=lambda d, n: report("testing", d, n)
        )
        size_px, scoring = detector.size_px, detector.scoring
        means = {
            layer: decode(*encode(layer_means(stack, layer, size_px)))
            for layer, stack in distances.items()
        }
        image_scores = scores(means, scoring, size_px)
        table = with_intervals(
            pd.DataFrame(_grid(means, distances, labels, scoring, size_px)),
            self.determining["scoring"], labels, image_scores, None,
        )  # fmt: skip
        test_set = _as_test_set(test, labels)
        return write_run(
            results,
            run_record(self.determining, detector, test_set, time.monotonic() - started),
            table,
            image_table(test_set, image_scores),
            curve_points(labels, image_scores, None, np.empty((0, 0, 0), np.float32)),
            means,
        )


def _named(name: str, on_progress: OnProgress | None) -> OnProgress | None:
    def report(progress: TrainingProgress) -> None:
        assert on_progress is not None
        on_progress(replace(progress, stage=f"{name}: {progress.stage}"))

    return report if on_progress else None


def layer_means(stack: Maps, layer: int, size_px: int) -> Maps:
    """Return the mean over pixels of every upsampled distance map, (N, 1, 1).

    >>> layer_means(np.array([[[0, 1], [1, 2]]], np.float32), 3, 32).round(4).tolist()
    [[[1.0]]]

    Upsampled again, it is a constant map of the same sum.
    """
    upsampled = fused_maps({layer: stack}, Scoring(layers=(layer,)), size_px)
    return upsampled.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)[:, None, None]


def _grid(
    means: Mapping[int, Maps], distances: Mapping[int, Maps], labels: NDArray[np.int_],
    scoring: Scoring, size_px: int,
) -> list[MetricRow]:  # fmt: skip
    """Return the metrics of every layer subset, and its AUROC by maxima of maps smoothed or not."""
    rows: list[MetricRow] = []
    subsets = [s for n in range(1, len(means) + 1) for s in combinations(sorted(means), n)]
    for layers in subsets:
        choice = replace(scoring, layers=layers)
        where = {"layers": layers_name(layers), "fusion": scoring.fusion}
        found = category_metrics([], scores(means, choice, size_px), labels, None)
        rows += [where | {"smoothing": choice.sigma_px} | row for row in found]
        for sigma_px in sorted({0.0, scaled_sigma(size_px), 4.0}):
            by_max = scores(distances, replace(choice, score="max", sigma_px=sigma_px), size_px)
            value = image_metrics(labels, by_max)["image_auroc"]
            metric = {"metric": "image_auroc_of_max", "definition": OF_MAX, "value": value}
            empty = {"ci_low": np.nan, "ci_high": np.nan, "reason": ""}
            rows.append(where | {"smoothing": sigma_px} | metric | empty)
    return rows


def _as_test_set(test: LabeledImages, labels: NDArray[np.int_]) -> EvaluationSet:
    samples = [
        Sample(name, Path(name), str(of_class), 1 if label else 0, None)
        for name, of_class, label in zip(test.names, test.classes, labels, strict=True)
    ]
    return EvaluationSet(samples, labels, None, ())
