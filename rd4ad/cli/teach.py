"""`rd4ad teach`: a folder of photos of good parts becomes a calibrated detector."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rd4ad.cli.command import Bars, UsageError, add_command


def add_teach(commands: Any) -> None:
    """Add `rd4ad teach` to the command line."""
    text = "Fit a detector to a folder of photos of good parts, and say what it would find."
    parser = add_command(commands, "teach", _teach, text)
    parser.add_argument("photos", type=Path, help="folder of photos of good parts, at least 5")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write, .safetensors")
    text = "share of good parts that may be called defective"
    parser.add_argument("--false-alarms", type=float, default=0.01, help=text)
    text = "also train reverse distillation, at most so many minutes, and keep the better one"
    parser.add_argument("--minutes", type=float, default=0.0, help=text)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _teach(options: argparse.Namespace) -> int:
    from rd4ad.inference.checkpoint import checked_name
    from rd4ad.teach.lesson import first_lesson
    from rd4ad.teach.photos import read_photos

    if not 0 < options.false_alarms <= 0.5:
        raise UsageError(f"--false-alarms must lie in (0, 0.5]; got {options.false_alarms}")
    if not 0 <= options.minutes <= 600:
        raise UsageError(f"--minutes must lie in [0, 600]; got {options.minutes}")
    checked_name(options.out, ".safetensors")
    photos, problems = read_photos(options.photos)
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    lesson = first_lesson(
        photos,
        rate=options.false_alarms,
        on_step=lambda step: print(f"{step} ...", file=sys.stderr),
    )
    lesson.save(options.out)
    comparison = _compare(lesson, options) if options.minutes else None
    report = _write_report(lesson, comparison, options.out)
    if options.json:
        print(json.dumps(_record(lesson, comparison)))
    else:
        print(_text(lesson))
        if comparison:
            print(_compared_text(comparison))
        print(f"wrote {options.out} and {report}: rd4ad predict {options.out} PHOTOS --out FOLDER")
    return 0


def _compare(lesson: Any, options: argparse.Namespace) -> Any:
    """Train the student, and let it take the place of the memory's checkpoint if it is better."""
    from rd4ad.teach.student import compared

    beside = options.out.with_name(f"{options.out.stem}.student.safetensors")
    with Bars() as bars:
        found = compared(
            lesson.photos,
            beside,
            recipe=lesson.recipe,
            minutes=options.minutes,
            rate=options.false_alarms,
            on_progress=lambda size_px, progress: bars.training(progress),
        )
    if found.is_student_better:
        beside.replace(options.out)
    else:
        beside.unlink()
    return found


def _write_report(lesson: Any, comparison: Any, out: Path) -> Path:
    from rd4ad.inference.checkpoint import replace_file
    from rd4ad.teach.pictures import all_pictures
    from rd4ad.teach.report import html

    path = out.with_suffix(".html")
    text = html(_record(lesson, comparison) | {"name": out.stem}, all_pictures(lesson))
    replace_file(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    return path


def _compared_text(comparison: Any) -> str:
    lines = [
        "painted defects in photos that neither saw, image AUROC / pixel AUROC / PRO (synthetic):"
    ]
    for row in comparison.rows():
        values = (row["image_auroc"], row["pixel_auroc"], row["aupro"])
        epochs = f", {row['epochs']} epochs" if row["epochs"] else ""
        lines.append(
            f"  {row['detector']}{epochs}: " + " / ".join(f"{100 * value:.1f}" for value in values)
        )
    return "\n".join([*lines, comparison.text])


def _record(lesson: Any, comparison: Any) -> dict[str, Any]:
    if not comparison:
        return dict(lesson.record())
    return lesson.record() | comparison.record()


def _text(lesson: Any) -> str:
    lines = [f"{len(lesson.photos)} photos"]
    for finding in lesson.findings:
        names = f" ({', '.join(finding.photos[:5])})" if finding.photos else ""
        lines.append(f"{finding.kind}: {finding.text}{names}")
    least = ", ".join(lesson.photos[i].name for i in lesson.least_alike())
    share = lesson.appraisal.found_by_size()
    table = (100 * share).round().astype("Int64").to_string(na_rep="-")
    lines += [one.text for one in lesson.augmentations]
    lines += [
        lesson.growth.text,
        f"least like the others: {least}",
        f"threshold {lesson.threshold.value:.3f}. {lesson.threshold.text}",
        "painted defects found, percent, by size in pixels of 256 (synthetic, no real defect):",
        table,
    ]
    return "\n".join(lines)
