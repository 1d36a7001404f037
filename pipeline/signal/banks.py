"""Mel bands that lie between two bins of the spectrum: none reaches them, so they stand still whatever is said."""

from collections.abc import Iterable
from itertools import count, islice, takewhile

from pipeline.errors import SettingError
from pipeline.signal.settings import SAMPLES, Bands, LogMel, Mfcc, check
from pipeline.signal.spectra import mel_filters


def empty_bands(config: Bands, rate: int) -> int:
    """Count the bands of a view at ``rate`` Hz whose filter has no weight at all.

    >>> empty_bands(LogMel(n_fft=512, n_mels=200), 16_000), empty_bands(LogMel(n_fft=512, n_mels=64), 16_000)
    (3, 0)
    """
    bank = mel_filters(rate, config.n_fft, config.n_mels, config.fmin, config.fmax)
    return int((~bank.any(axis=1)).sum())


def notes(configs: Iterable[Bands], rate: int) -> list[str]:
    """Say which views have bands that never move, and what fills them; views of the same bands together.

    Raises:
        SettingError: no band of a view moves, or a view reaches beyond half the sample rate.
    """
    found: dict[tuple[object, ...], list[Bands]] = {}
    for config in configs:
        check(config, rate)
        if not isinstance(config, Mfcc) or config.mfcc:
            found.setdefault((config.n_fft, config.n_mels, config.fmin, config.fmax), []).append(config)
    return [_note(views, empty, rate) for views in found.values() if (empty := empty_bands(views[0], rate))]


def _note(views: list[Bands], empty: int, rate: int) -> str:
    """Say it of views that share their bands, in two lines."""
    config, names = views[0], " and ".join(view.section for view in views)
    remedies = _fewer(config, rate) + _longer(config, rate)
    if empty == config.n_mels:
        raise SettingError(
            f"params.yaml: {names}: none of the {empty} mel bands from {config.fmin} Hz on holds a bin of the FFT, so "
            f"all would stand still: {' or '.join(remedies or ['set fmin and fmax farther apart'])}."
        )
    said = f"{names}: {empty} of {config.n_mels} mel bands hold no bin of the FFT and never move:"
    return f"{said}\n  {' or '.join(remedies or ['set fmin and fmax farther apart'])}"


def _fewer(config: Bands, rate: int) -> list[str]:
    """Propose the largest number of bands found that leaves none empty, by halving the distance to it."""
    good, bad = 0, config.n_mels
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if empty_bands(_bands(config, n_mels=middle), rate) else (middle, bad)
    return [f"lower n_mels to {good}"] if good else []


def _longer(config: Bands, rate: int) -> list[str]:
    """Propose the first doubling of the frame that leaves no band empty."""
    doubled = takewhile(lambda n_fft: n_fft <= SAMPLES, (config.n_fft * 2**power for power in count(1)))
    filled = (n_fft for n_fft in doubled if not empty_bands(_bands(config, n_fft=n_fft), rate))
    return [f"raise n_fft to {n_fft}" for n_fft in islice(filled, 1)]


def _bands(config: Bands, **changed: int) -> LogMel:
    """Give other bands of a view."""
    names = ("n_fft", "hop", "n_mels", "fmin", "fmax")
    return LogMel(**{name: getattr(config, name) for name in names} | changed)
