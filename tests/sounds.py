"""Sounds that several tests make, and real ones where there are any."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16_000


def tone(samples: int, *, hertz: float = 440.0, level: float = 0.5, rate: int = RATE) -> np.ndarray:
    """A sine."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)).astype(np.float32)


def hiss(samples: int, *, level: float = 0.1, seed: int = 5) -> np.ndarray:
    """White noise."""
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def phrase(number: int, seconds: float, *, silence: float = 0.25, rate: int = RATE) -> np.ndarray:
    """A vibrato tone with harmonics that swells and fades between silences, another one for each number; in s."""
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (120 + 7 * number) * t + 2 * np.sin(2 * np.pi * 5 * t)
    sound = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.sin(np.pi * t / seconds) ** 2
    return np.pad(0.2 * sound, round(silence * rate))


def buzz(seconds: float) -> np.ndarray:
    """A buzz that comes and goes, which counts as speech."""
    t = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sign(np.sin(2 * np.pi * (150 + 30 * np.sin(5 * t)) * t)) * np.abs(np.sin(4 * t))


def real_clips(count: int) -> Iterator[tuple[np.ndarray, int]]:
    """So many clips of RAVDESS and of EmoDB each, in one channel, and their sample rates."""
    root = os.environ.get("SER_CORPORA")
    if not root:
        pytest.skip("SER_CORPORA names no folder with RAVDESS and EmoDB")
    for corpus in ("RAVDESS", "EmoDB"):
        paths = sorted(p for p in (Path(root) / corpus).rglob("*") if p.suffix in {".wav", ".flac"})
        assert len(paths) >= count, f"{root}/{corpus} holds too few clips"
        for path in paths[:: len(paths) // count][:count]:
            signal, rate = soundfile.read(path, dtype="float32", always_2d=True)
            assert np.ptp(signal) > 0.01
            yield signal.mean(axis=1), rate
