"""What more photos are likely to bring: held-out photos judged by half and by all of the others."""

from dataclasses import dataclass

# On three real parts the fall is 2 to 15% up to 30 photos, 1 to 3% at 60, under 1% from 120 on; of
# few photos it is uncertain (results/teach/photos.csv).
_SETTLED, _SURE = 0.02, 48


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a memory makes of held-out photos and of defects painted into them.

    Args:
        n_photos: that it holds.
        good_score: median score of the held-out photos.
        quality: mean of image and pixel AUROC on painted defects; synthetic.
    """

    n_photos: int
    good_score: float
    quality: float


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What doubling the photos brought.

    Args:
        half: by half of the photos.
        whole: by all of them.
    """

    half: Result
    whole: Result

    @property
    def fall(self) -> float:
        """Share by which the scores of good photos fell as the photos doubled."""
        return 1 - self.whole.good_score / self.half.good_score

    @property
    def is_enough(self) -> bool:
        """Whether another doubling is likely to change little; never said of few photos.

        >>> few = Result(n_photos=12, good_score=2.0, quality=0.9)
        >>> more = Result(n_photos=24, good_score=1.5, quality=0.95)
        >>> Growth(half=few, whole=more).is_enough
        False
        """
        return self.fall < _SETTLED and self.whole.n_photos >= _SURE

    @property
    def text(self) -> str:
        """What was seen, and what to expect of more photos."""
        half, whole = self.half, self.whole
        moved = "fell" if self.fall >= 0 else "rose"
        seen = (
            f"From {half.n_photos} to {whole.n_photos} photos, scores of good photos that were "
            f"held out {moved} by {abs(100 * self.fall):.0f}%, and AUROC on painted defects (mean "
            f"of image and pixel) went from {100 * half.quality:.1f}% to "
            f"{100 * whole.quality:.1f}%."
        )
        if self.is_enough:
            return f"{seen} The photos show most of how good parts vary: more will change little."
        if self.fall >= _SETTLED:
            return (
                f"{seen} Good parts vary more than these photos show: as many again are likely to "
                "bring up to the same gain, and fewer false alarms."
            )
        return (
            f"{seen} That is little, but so few photos cannot show it surely: with 60 or more the "
            "threshold settles, and faint defects may be found that are missed now."
        )
