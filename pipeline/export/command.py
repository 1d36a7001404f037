"""``export``: turn a bundle into one that runs without Keras, if its answers stay the same."""

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
    """A format."""

    runtime: str
    file: str
    ways: Sequence[tuple[str, Convert]]  # the first one within the tolerance is taken
    tolerance: float  # the largest difference of probabilities from Keras'
    packages: Sequence[str]  # whose versions the card names


ONNX = ("onnx", "onnxruntime", "tf2onnx")
LITERT = ("ai-edge-litert",)
TARGETS: Mapping[str, Target] = {
    "onnx": Target(
        runtime="onnx", file=runtimes.ONNX, ways=(("float32", export_convert.to_onnx),), tolerance=1e-4, packages=ONNX
    ),
    "litert": Target(
        runtime="litert",
        file=runtimes.LITERT,
        ways=(("float32", export_convert.to_litert),),
        tolerance=1e-4,
        packages=LITERT,
    ),
    "litert-int8": Target(
        runtime="litert", file=runtimes.LITERT, ways=(INTEGERS, WEIGHTS), tolerance=0.1, packages=LITERT
    ),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is exported and compared."""

    source: Path
    card: bundle.Card
    samples: Array  # (clips, frames, rows)

    @property
    def places(self) -> dict[str, tuple[int, int | None]]:
        """The folder of each network, with its fold and, where there are several, its seed."""
        several = len(self.card.seeds) > 1
        return {
            place: (fold, seed if several else None)
            for fold in self.card.folds
            for seed, place in zip(self.card.seeds, self.card.places(fold), strict=True)
        }

    def network(self, place: str) -> models.Model:
        """Load one network."""
        return models.load_model_files(self.source / place, self.card.arch)


def export(source: Path, output: Path, *, target: str, samples: Array, tolerance: float | None = None) -> list[Made]:
    """Write a bundle in another format, run on clips before it takes its place.

    Args:
        source: a bundle of Keras networks.
        output: the bundle to write.
        target: one of `TARGETS`.
        samples: inputs of real clips, of shape ``(clips, frames, rows)``; int8 is calibrated on every other one.
        tolerance: the largest difference of probabilities that is let through; None is that of the target.

    Returns:
        How the model of each fold compares.

    Raises:
        StoreError: the bundle or the clips cannot be used, or the answers differ; nothing is written then.
        SettingError: the target is unknown, its packages are not installed, or Keras runs on another backend.
    """
    if target not in TARGETS:
        raise UnknownNameError("--to", target, TARGETS)
    kind = TARGETS[target] if tolerance is None else replace(TARGETS[target], tolerance=tolerance)
    job = opened(source, samples)
    with files.replacing(to_write(output), [source]) as part:
        made = [convert(job, part / place, name=target, kind=kind) for place in job.places]
        finish(part, job, kind, made)
    return made


def to_write(output: Path) -> files.Output:
    """Describe the bundle that is written."""
    return files.Output(path=output, what="a bundle", ours=bundle.is_whole, folder=True)


def originals(source: Path, samples: Array) -> list[Made]:
    """Say how large and how quick the networks are that are exported."""
    job = opened(source, samples)
    return [original(job, place) for place in job.places]


def original(job: Job, place: str) -> Made:
    """Say how large and how quick one network is."""
    network = job.network(place)
    path = job.source / place / models.NETWORK
    wanted = network.hear(job.samples)
    return parity.compare_answers(
        network, wanted, job.samples, path=path, target="keras", member=job.places[place], numbers="float32"
    )


def opened(source: Path, samples: Array) -> Job:
    """Read the card of a bundle that can be exported.

    Raises:
        StoreError: it is a machine, is exported already, or takes other inputs.
    """
    card = bundle.read(source)
    if card.arch == SVM:
        raise StoreError(f"{source} is an svm, plain arrays that need no export: use the bundle as it is.")
    if card.runtime != "keras":
        raise StoreError(f"{source} was exported for {card.runtime} already: export the bundle it was made of.")
    if samples.shape[1:] != tuple(card.layout["shape"]) or not len(samples) or not np.isfinite(samples).all():
        raise StoreError(
            f"{source} takes clips of shape {tuple(card.layout['shape'])} in finite numbers, and to compare with there "
            f"are {len(samples)} of shape {samples.shape[1:]}: name recordings that can be heard."
        )
    return Job(source=source, card=card, samples=samples)


def convert(job: Job, folder: Path, *, name: str, kind: Target) -> Made:
    """Convert one network by the first way that is within the tolerance, into the folder of its name.

    Raises:
        StoreError: none is.
    """
    model = job.network(folder.name)
    if not isinstance(model, models.Network):
        raise TypeError(model)  # an svm, which was refused
    wanted, path = model.hear(job.samples), folder / kind.file
    folder.mkdir(parents=True)
    for numbers, write in kind.ways:
        write(model.network, path, job.samples[::2])  # the others are new to what is calibrated, and show what it errs
        found = runtimes.load(folder, kind.runtime)
        made = parity.compare_answers(
            found, wanted, job.samples, path=path, target=name, member=job.places[folder.name], numbers=numbers
        )
        if made.difference <= kind.tolerance:  # never so where it is no number
            return made
    raise too_different(job, made, kind.tolerance)


def too_different(job: Job, made: Made, tolerance: float) -> StoreError:
    """Say that a converted model answers otherwise than the network."""
    return StoreError(
        f"{job.source}, fold {made.fold}: over {len(job.samples)} clips the probabilities of {made.target} differ by "
        f"up to {made.within} from those of Keras, more than {tolerance:g}; nothing was written. Choose another format "
        f"with --to, or allow more with --tolerance."
    )


def finish(part: Path, job: Job, kind: Target, made: Sequence[Made]) -> None:
    """Write histories, page and card of an exported bundle."""
    for path in job.source.glob(f"fold-*/{HISTORY}"):
        shutil.copy(path, part / path.parent.name)
    converters = {name: version(name) for name in kind.packages}
    card = replace(job.card, runtime=kind.runtime, versions={**job.card.versions, **converters})
    (part / model_card.NAME).write_text(page(card, made, len(job.samples)), encoding="utf-8")
    bundle.write(part, replace(card, files=bundle.checksums(part)))


def page(card: bundle.Card, made: Sequence[Made], clips: int) -> str:
    """Write the page of a bundle, and how its models compare with those they were made of."""
    compared = model_card.grid(parity.parity_table(made, clips))
    return f"{model_card.page(card).rstrip()}\n\n## How it compares with the network it was made of\n{compared}\n"
