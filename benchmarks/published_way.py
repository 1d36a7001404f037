"""Feature extraction as in the published systems: a librosa call for every feature of every copy of a clip."""

from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import soundfile

RATE = 22_050  # Hz
OFFSET, SECONDS = 0.6, 2.5  # s
Array = npt.NDArray[np.float32]


def clip(path: Path, rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """Compute four rows of a file: original, with noise, pitched by 0.7 semitones, pitched and then with noise."""
    signal = librosa.util.fix_length(load(path), size=round(RATE * SECONDS))
    pitched = [
        librosa.effects.pitch_shift(signal, sr=RATE, n_steps=0.7) for _ in range(2)
    ]  # the published code does it twice
    return [views(each) for each in (signal, noisy(signal, rng), pitched[0], noisy(pitched[1], rng))]


def load(path: Path) -> Array:
    """Read 2.5 s from 0.6 s on as mono at 22,050 Hz, like ``librosa.load`` but without its fallback decoder."""
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        file.seek(int(OFFSET * rate))
        samples = file.read(int(SECONDS * rate), dtype="float32", always_2d=True)
    return librosa.resample(librosa.to_mono(samples.T), orig_sr=rate, target_sr=RATE)


def noisy(signal: Array, rng: np.random.Generator) -> Array:
    """Add noise with a random share of the peak amplitude."""
    return signal + 0.035 * rng.uniform() * np.amax(signal) * rng.normal(size=signal.shape[0])


def views(signal: Array) -> tuple[Array, Array]:
    """Zero crossings, RMS and 20 MFCC stacked, and 128 log-mel bands. Shapes: ``(22, 108)`` and ``(128, 108)``."""
    mfcc = librosa.feature.mfcc(y=signal, sr=RATE)
    cepstral = np.vstack([librosa.feature.zero_crossing_rate(signal), librosa.feature.rms(y=signal), mfcc])
    return cepstral, librosa.power_to_db(librosa.feature.melspectrogram(y=signal, sr=RATE, n_mels=128))
