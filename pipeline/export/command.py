"""``export``: convert a bundle into one that runs without Keras, if its predictions stay the same."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.core import files
from pipeline.core.errors import StoreError, UnknownNameError
from pipeline.export import convert as export_convert
from pipeline.export import parity, runtimes
from pipeline.export.parity import Made
from pipeline.report import model_card
from pipeline.train import bundle, models
from pipeline.train.settings import SVM

Array = npt.NDArray[np.float32]
Convert = Callable[..., None]  # network, file, samples
HISTORY = "history.csv"
INTEGERS = ("int8", export_convert.to_integers)
WEIGHTS = ("int8 weights", export_convert.to_weights)


@dataclass(frozen=True, kw_only=True)
class Target:
    """An export format."""

    runtime: str
    file: str
    converters: Sequence[tuple[str, Convert]]  # the first one within the tolerance is used
    tolerance: float  # the largest allowed difference from the probabilities of Keras
    packages: Sequence[str]  # whose versions are written to the card


ONNX = ("onnx", "onnxruntime", "tf2onnx")
LITERT = ("ai-edge-litert",)
TARGETS: Mapping[str, Target] = {
    "onnx": Target(
        runtime="onnx",
        file=runtimes.ONNX,
        converters=(("float32", export_convert.to_onnx),),
        tolerance=1e-4,
        packages=ONNX,
    ),
    "litert": Target(
        runtime="litert",
        file=runtimes.LITERT,
        converters=(("float32", export_convert.to_litert),),
        tolerance=1e-4,
        packages=LITERT,
    ),
    "litert-int8": Target(
        runtime="litert", file=runtimes.LITERT, converters=(INTEGERS, WEIGHTS), tolerance=0.1, packages=LITERT
    ),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A bundle to export and the clips to compare with."""

    source: Path
    card: bundle.Card
    samples: Array  # (clips, frames, bins)

    @property
    def folders(self) -> dict[str, tuple[int, int | None]]:
        """The folder of each network, with its fold and, if there are several, its seed."""
        several = len(self.card.seeds) > 1
        return {
            folder: (fold, seed if several else None)
            for fold in self.card.folds
            for seed, folder in zip(self.card.seeds, self.card.places(fold), strict=True)
        }

    def load_network(self, folder: str) -> models.Model:
        return models.load_model_files(self.source / folder, self.card.arch)


def export(source: Path, output: Path, *, target: str, samples: Array, tolerance: float | None = None) -> list[Made]:
    """Convert a bundle to another format and compare it with the original on clips.

    Args:
        source: a bundle of Keras networks.
        output: the bundle to write.
        target: one of `TARGETS`.
        samples: inputs of real clips, of shape ``(clips, frames, bins)``; int8 is calibrated on every other one.
        tolerance: the largest allowed difference of probabilities; None for that of the target.

    Returns:
        The comparison of each model.

    Raises:
        StoreError: the bundle or the clips cannot be used, or the predictions differ; nothing is written then.
        SettingError: the target is unknown, its packages are not installed, or Keras runs on another backend.
    """
    if target not in TARGETS:
        raise UnknownNameError("--to", target, TARGETS)
    kind = TARGETS[target] if tolerance is None else replace(TARGETS[target], tolerance=tolerance)
    job = opened(source, samples)
    with files.replacing(to_write(output), [source]) as part:
        made = [convert(job, part / folder, name=target, kind=kind) for folder in job.folders]
        finish(part, job, kind, made)
    return made


def to_write(output: Path) -> files.Output:
    """Describe the bundle to write."""
    return files.Output(path=output, what="a bundle", ours=bundle.is_whole, folder=True)


def originals(source: Path, samples: Array) -> list[Made]:
    """Measure size and latency of the networks to export."""
    job = opened(source, samples)
    return [original(job, folder) for folder in job.folders]


def original(job: Job, folder: str) -> Made:
    network, path = job.load_network(folder), job.source / folder / models.NETWORK
    expected = network.hear(job.samples)
    return parity.compare_answers(
        network, expected, job.samples, path=path, target="keras", member=job.folders[folder], numbers="float32"
    )


def opened(source: Path, samples: Array) -> Job:
    """Read the card of a bundle that can be exported.

    Raises:
        StoreError: it is an SVM, was exported already, or needs other inputs.
    """
    card = bundle.read(source)
    if card.arch == SVM:
        raise StoreError(f"{source} is an svm, plain arrays that need no export: use the bundle as it is.")
    if card.runtime != "keras":
        raise StoreError(f"{source} was exported for {card.runtime} already: export the bundle it was made of.")
    if samples.shape[1:] != tuple(card.layout["shape"]) or not len(samples) or not np.isfinite(samples).all():
        raise StoreError(
            f"{source} needs clips of shape {tuple(card.layout['shape'])} with finite values, and those to compare "
            f"with are {len(samples)} of shape {samples.shape[1:]}: name recordings that it can predict."
        )
    return Job(source=source, card=card, samples=samples)


def convert(job: Job, folder: Path, *, name: str, kind: Target) -> Made:
    """Convert one network with the first converter whose result is within the tolerance.

    Args:
        job: the bundle.
        folder: to make, with the name of the network's folder.
        name: of the target.
        kind: the target.

    Raises:
        StoreError: no result is within the tolerance.
    """
    model = job.load_network(folder.name)
    if not isinstance(model, models.Network):
        raise TypeError(model)  # an SVM, which `opened` refuses
    expected, path = model.hear(job.samples), folder / kind.file
    folder.mkdir(parents=True)
    for numbers, write in kind.converters:
        write(model.network, path, job.samples[::2])  # the other clips show errors that calibration does not see
        converted = runtimes.load(folder, kind.runtime)
        made = parity.compare_answers(
            converted, expected, job.samples, path=path, target=name, member=job.folders[folder.name], numbers=numbers
        )
        if made.difference <= kind.tolerance:  # false for NaN
            return made
    raise too_different(job, made, kind.tolerance)


def too_different(job: Job, made: Made, tolerance: float) -> StoreError:
    return StoreError(
        f"{job.source}, fold {made.fold}: over {len(job.samples)} clips the probabilities of {made.target} differ by "
        f"up to {made.difference:.2g} from those of Keras, more than {tolerance:g}; nothing was written. Choose "
        f"another format with --to, or allow more with --tolerance."
    )


def finish(part: Path, job: Job, kind: Target, made: Sequence[Made]) -> None:
    """Write the training histories, the model card and ``bundle.json`` of an exported bundle."""
    for path in job.source.glob(f"fold-*/{HISTORY}"):
        shutil.copy(path, part / path.parent.name)
    converters = {name: version(name) for name in kind.packages}
    card = replace(job.card, runtime=kind.runtime, versions={**job.card.versions, **converters})
    (part / model_card.NAME).write_text(page(card, made, len(job.samples)), encoding="utf-8")
    bundle.write(part, replace(card, files=bundle.checksums(part)))


def page(card: bundle.Card, made: Sequence[Made], clips: int) -> str:
    """Write the model card, followed by the comparison with the original networks."""
    compared = model_card.grid(parity.parity_table(made, clips))
    return f"{model_card.page(card).rstrip()}\n\n## Comparison with the original network\n{compared}\n"
