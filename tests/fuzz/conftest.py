"""Mutated files from a fixed seed, and a watch on time and memory."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

SECONDS, MIB = 5, 300


def _mutated(whole: bytes, rng: np.random.Generator) -> bytes:
    """The file with some bytes changed, cut, doubled or filled, as chance has it."""
    content = bytearray(whole)
    for _ in range(int(rng.integers(1, 6))):
        # Half of the changes hit the first 128 bytes: headers decide what a reader does.
        end = len(content) if rng.random() < 0.5 else min(128, len(content))
        if not end:
            break
        at = int(rng.integers(0, end))
        length = int(min(rng.integers(1, 65), len(content) - at))
        kind = rng.integers(6)
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[at : at + length] = rng.bytes(length)
        elif kind == 2:
            del content[at : len(content) if rng.random() < 0.3 else at + length]
        elif kind == 3:
            content[at:at] = content[at : at + length]
        elif kind == 4:
            content[at : at + 4] = rng.choice([b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"])
        else:
            content[at : at + length] = bytes(length)
    return bytes(content)


@pytest.fixture
def mutations() -> Callable[[bytes, int], Iterator[bytes]]:
    """A function that yields `n` mutations of a file, the same in every run."""

    def mutate(whole: bytes, n: int) -> Iterator[bytes]:
        rng = np.random.default_rng([20260101, len(whole)])
        for _ in range(n):
            yield _mutated(whole, rng)

    return mutate


class TooSlowError(BaseException):
    """A reader took longer than `SECONDS`; no reader catches this."""


def _stop(*_: object) -> None:
    raise TooSlowError


@pytest.fixture
def watched() -> Iterator[Callable]:
    """A context in which a file is read within `SECONDS` and `MIB`."""

    @contextmanager
    def watch() -> Iterator[None]:
        previous = signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)

    # A highest mark of the process: nothing that was read may raise it by more than `MIB`.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield watch
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert after - before < MIB
