"""Source and filter of synthetic speech: pulses of the glottis, resonances of the vocal tract, frication.

The pulse is that of Klatt & Klatt (1990), the cascade of resonators that of Klatt (1980).
"""

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Array = npt.NDArray[np.float64]
OPEN = 0.6  # share of a period in which the glottis is open
STEADY = (3500.0, 4500.0, 5600.0, 6700.0, 7800.0)  # Hz, the formants of a man that hardly move


def glottis(rng: np.random.Generator, hertz: Array, *, jitter: float, rate: int) -> tuple[Array, Array]:
    """Derive the flow through the glottis: ``2t - 3t²`` while it is open. Shapes: ``(samples,)``.

    Jitter is the sd of the period as a share; shimmer, that of its height, is three times as large. Beside the flow
    comes how open the glottis is, 0.2 to 1.
    """
    beats = np.cumsum(hertz) / rate
    stretch, height = 1 + jitter * np.array([[1.0], [3.0]]) * rng.standard_normal((2, int(1.3 * beats[-1]) + 2))
    phase = np.cumsum(hertz * stretch[beats.astype(int)]) / rate
    cycle = phase.astype(int)
    time = (phase - cycle) / OPEN
    opened = time < 1
    return opened * time * (2 - 3 * time) * height[cycle], 0.2 + 0.8 * opened


def cascade(source: Array, formants: Array, *, rate: int) -> Array:
    """Filter with resonances that move once a frame. Shapes: ``(samples,)`` and ``(frames, n)`` to ``(samples,)``."""
    blocks = source.reshape(len(formants), -1).copy()
    for track in formants.T:
        state = np.zeros(2)
        for block, poles in zip(blocks, resonator(track, width(track), rate=rate), strict=True):
            block[:], state = lfilter([poles.sum()], poles, block, zi=state)
    return blocks.ravel()


def crown(signal: Array, *, scale: float, rate: int) -> Array:
    """Filter with the steady upper formants, as far as the rate has room for them."""
    for hertz in scale * np.array(STEADY):
        if hertz < 0.47 * rate:
            poles = resonator(hertz, width(hertz), rate=rate)
            signal = lfilter([poles.sum()], poles, signal)
    return signal


def width(hertz: Array) -> Array:
    """Give a formant at ``hertz`` its bandwidth in Hz."""
    return 50 + hertz / 25


def resonator(hertz: Array, width: Array, *, rate: int) -> Array:
    """Give the denominator of two poles; its sum as numerator makes the gain 1 at 0 Hz. Shape: ``(..., 3)``.

    >>> resonator(np.array([500.0, 1500.0]), np.array([70.0, 110.0]), rate=16_000).shape
    (2, 3)
    """
    radius = np.exp(-np.pi * width / rate)
    return np.stack([np.ones_like(radius), -2 * radius * np.cos(2 * np.pi * hertz / rate), radius**2], axis=-1)


def hiss(noise: Array, centre: float, width: float, *, rate: int) -> Array:
    """Squeeze white noise into a band, in Hz. RMS 1."""
    poles = resonator(np.array(min(centre, 0.44 * rate)), np.array(width), rate=rate)
    return unit(lfilter([1, -2, 1], np.convolve(poles, poles), noise))


def brighten(signal: Array, decibels: float, *, rate: int) -> Array:
    """Raise what lies well above 1 kHz; half of the decibels are reached there."""
    gain = 10 ** (decibels / 20)
    dull = lowpass(signal, 1000 * np.sqrt(gain), rate=rate)
    return dull + gain * (signal - dull)


def lowpass(signal: Array, hertz: float, *, rate: int) -> Array:
    """Lose 6 dB per octave above ``hertz``."""
    pole = np.exp(-2 * np.pi * hertz / rate)
    dull: Array = lfilter([1 - pole], [1, -pole], signal)
    return dull


def unit(signal: Array) -> Array:
    """Scale to RMS 1."""
    scaled: Array = signal / np.sqrt(np.mean(np.square(signal)))
    return scaled
