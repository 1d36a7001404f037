"""Differences between our features and those of librosa on every clip, before rounding to the stored type.

Effects are compared with librosa on float64 input, and on float32 input, which is usual: its vocoder accumulates phases
of up to about 1e5 rad in the precision of its input, where neighbouring float32 numbers are 0.01 rad apart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import joblib
import librosa
import numpy as np
import numpy.typing as npt

from benchmarks import corpus, extraction
from benchmarks.corpus import SAME, Corpus, Job
from pipeline.audio import decode
from pipeline.signal import augment, extractor, preprocess, views
from pipeline.signal.settings import MelBands

Array = npt.NDArray[Any]
Gaps = dict[str, float]  # quantity -> largest difference in a clip
EFFECTS: dict[str, Callable[[Array, float, int], Array]] = {
    "stretch": lambda signal, rate, _: librosa.effects.time_stretch(signal, rate=rate),
    "pitch": lambda signal, semitones, rate: librosa.effects.pitch_shift(signal, sr=rate, n_steps=semitones),
}
LIMITS = {  # the largest differences that we accept
    "log-mel, dB": 1e-3, "MFCC, dB": 1e-3, "RMS, of full scale": 1e-6, "ZCR, turns per sample": 0.0,
    "stretch, % of the peak": 1e-3, "stretch, % of the peak, librosa in float32": 1.0,
    "pitch, % of the peak": 1e-3, "pitch, % of the peak, librosa in float32": 1.0,
}  # fmt: skip


def measure(job: Job) -> dict[str, Any]:
    """Compare every clip of every corpus with the settings of params.yaml and with the published ones."""
    extractors = {"params.yaml": corpus.standard(), "published": SAME}
    return {name: of_recipe(job, settings) for name, settings in extractors.items()} | {
        "librosa": librosa.__version__,
        "clips": {each.name: corpus.count(each) for each in job.corpora},
    }


def of_recipe(job: Job, settings: extractor.ExtractorSettings) -> dict[str, Any]:
    """Summarise the largest differences of all clips."""
    work = [(each, row) for each in job.corpora for row in extraction.records(each)]
    with joblib.parallel_config(backend="loky", n_jobs=job.workers, inner_max_num_threads=1):
        gaps = joblib.Parallel()(joblib.delayed(clip)(each, row, settings) for each, row in work)
    return {name: summary([each[name] for each in gaps], limit) for name, limit in LIMITS.items()}


def summary(gaps: Sequence[float], limit: float) -> dict[str, float]:
    """Return the largest difference, the 99th percentile, and the share of clips beyond the limit.

    >>> summary([0.0, 2.0, 1.0, 0.0], 1.0)
    {'largest': 2.0, 'percentile_99': 1.97, 'limit': 1.0, 'share_beyond': 0.25}
    """
    return {
        "largest": rounded(max(gaps)),
        "percentile_99": rounded(float(np.percentile(gaps, 99))),
        "limit": limit,
        "share_beyond": float(np.mean(np.array(gaps) > limit)),
    }


def rounded(value: float) -> float:
    """Round to three significant digits."""
    return float(f"{value:.3g}")


def clip(source: Corpus, row: Mapping[str, Any], settings: extractor.ExtractorSettings) -> Gaps:
    """Compare the views of a clip, and its augmented copies with the drawn strengths."""
    signal = extractor.prepare_signal(decode.read_recording(source.folder / row["path"]), settings.audio)
    fitted = preprocess.fix_length(signal, settings.samples)
    return compare_views(fitted, settings) | compare_effects(signal, row["samples_sha256"], settings)


def compare_views(signal: Array, settings: extractor.ExtractorSettings) -> Gaps:
    """Compare both views of a signal."""
    rate = settings.audio.sample_rate
    ours = views.compute_views(signal, rate, {view: settings.view(view) for view in extractor.DTYPES})
    zcr, rms, *cepstrum = ours["mfcc"].T
    theirs = librosas(signal, rate, settings.features)
    own = (ours["logmel"].T, np.array(cepstrum), rms, zcr)
    return {name: float(np.abs(a - b).max()) for name, a, b in zip(LIMITS, own, theirs, strict=False)}


def librosas(signal: Array, rate: int, features: extractor.ViewSettings) -> tuple[Array, Array, Array, Array]:
    """Compute log-mel, MFCC, RMS and ZCR with librosa."""
    mel, cepstral = features.logmel, features.mfcc
    frames = {"frame_length": cepstral.n_fft, "hop_length": cepstral.hop}
    power = librosa.feature.melspectrogram(y=signal, sr=rate, **bands(mel))
    return (
        librosa.power_to_db(power, top_db=mel.top_db),
        librosa.feature.mfcc(y=signal, sr=rate, n_mfcc=cepstral.n_mfcc, **bands(cepstral)),
        librosa.feature.rms(y=signal, **frames)[0],
        librosa.feature.zero_crossing_rate(signal, **frames)[0],
    )


def bands(config: MelBands) -> dict[str, Any]:
    """Translate our settings to librosa's arguments."""
    return {
        "n_fft": config.n_fft,
        "hop_length": config.hop,
        "n_mels": config.n_mels,
        "fmin": config.fmin,
        "fmax": config.fmax,
    }


def compare_effects(signal: Array, recording: str, settings: extractor.ExtractorSettings) -> Gaps:
    """Compare stretch and pitch; ours share one spectrum."""
    some = replace(settings.augment, copies=tuple(EFFECTS))
    drawn = {
        name: augment.draw_steps(name, some, augment.random_generator(settings.seed, recording, name))
        for name in EFFECTS
    }
    ours = augment.make_variants(signal, drawn)
    gaps = {}
    for name, effect in EFFECTS.items():
        for kind, note in ((np.float64, ""), (np.float32, ", librosa in float32")):
            other = effect(signal.astype(kind), drawn[name][0].value, settings.audio.sample_rate)
            gaps[f"{name}, % of the peak{note}"] = 100 * float(np.abs(ours[name] - other).max() / np.abs(other).max())
    return gaps
