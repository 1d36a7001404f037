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
from pipeline.export.parity import ParityResult
from pipeline.report import model_card
from pipeline.train import bundle, models
from pipeline.train.settings import SVM

Array = npt.NDArray[np.float32]
Converter = Callable[..., None]  # network, file, samples
HISTORY_FILE = "history.csv"
INT8 = ("int8", export_convert.to_litert_int8)
INT8_WEIGHTS = ("int8 weights", export_convert.to_litert_int8_weights)


@dataclass(frozen=True, kw_only=True)
class ExportTarget:
    """An export format."""

    runtime: str
    file: str
    converters: Sequence[tuple[str, Converter]]  # the first one within the tolerance is used
    tolerance: float  # the largest allowed difference from the probabilities of Keras
    packages: Sequence[str]  # whose versions are written to the card


ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")
LITERT_PACKAGES = ("ai-edge-litert",)
TARGETS: Mapping[str, ExportTarget] = {
    "onnx": ExportTarget(
        runtime="onnx",
        file=runtimes.ONNX_FILE,
        converters=(("float32", export_convert.to_onnx),),
        tolerance=1e-4,
        packages=ONNX_PACKAGES,
    ),
    "litert": ExportTarget(
        runtime="litert",
        file=runtimes.LITERT_FILE,
        converters=(("float32", export_convert.to_litert),),
        tolerance=1e-4,
        packages=LITERT_PACKAGES,
    ),
    "litert-int8": ExportTarget(
        runtime="litert",
        file=runtimes.LITERT_FILE,
        converters=(INT8, INT8_WEIGHTS),
        tolerance=0.1,
        packages=LITERT_PACKAGES,
    ),
}


@dataclass(frozen=True, kw_only=True)
class ExportJob:
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
        return models.load_model(self.source / folder, self.card.arch)


def export_bundle(
    source: Path, output: Path, *, target: str, samples: Array, tolerance: float | None = None
) -> list[ParityResult]:
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
    job = _open_job(source, samples)
    with files.replace_output(output_bundle(output), [source]) as part:
        made = [_convert_network(job, part / folder, name=target, kind=kind) for folder in job.folders]
        _write_bundle(part, job, kind, made)
    return made


def output_bundle(output: Path) -> files.Output:
    """Describe the bundle to write."""
    return files.Output(path=output, what="a bundle", ours=bundle.is_intact_bundle, folder=True)


def measure_originals(source: Path, samples: Array) -> list[ParityResult]:
    """Measure size and latency of the networks to export."""
    job = _open_job(source, samples)
    return [_measure_original(job, folder) for folder in job.folders]


def _measure_original(job: ExportJob, folder: str) -> ParityResult:
    network, path = job.load_network(folder), job.source / folder / models.NETWORK_FILE
    expected = network.predict(job.samples)
    return parity.measure_parity(
        network, expected, job.samples, path=path, target="keras", member=job.folders[folder], numbers="float32"
    )


def _open_job(source: Path, samples: Array) -> ExportJob:
    """Read the card of a bundle that can be exported.

    Raises:
        StoreError: it is an SVM, was exported already, or needs other inputs.
    """
    card = bundle.read_card(source)
    if card.arch == SVM:
        raise StoreError(f"{source} is an svm, plain arrays that need no export: use the bundle as it is.")
    if card.runtime != "keras":
        raise StoreError(f"{source} was exported for {card.runtime} already: export the bundle it was made of.")
    if samples.shape[1:] != tuple(card.layout["shape"]) or not len(samples) or not np.isfinite(samples).all():
        raise StoreError(
            f"{source} needs clips of shape {tuple(card.layout['shape'])} with finite values, and those to compare "
            f"with are {len(samples)} of shape {samples.shape[1:]}: name recordings that it can predict."
        )
    return ExportJob(source=source, card=card, samples=samples)


def _convert_network(job: ExportJob, folder: Path, *, name: str, kind: ExportTarget) -> ParityResult:
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
    if not isinstance(model, models.NetworkModel):
        raise TypeError(model)  # an SVM, which `_open_job` refuses
    expected, path = model.predict(job.samples), folder / kind.file
    folder.mkdir(parents=True)
    for numbers, write in kind.converters:
        write(model.network, path, job.samples[::2])  # the other clips show errors that calibration does not see
        converted = runtimes.load_exported_model(folder, kind.runtime)
        made = parity.measure_parity(
            converted, expected, job.samples, path=path, target=name, member=job.folders[folder.name], numbers=numbers
        )
        if made.difference <= kind.tolerance:  # false for NaN
            return made
    raise _parity_error(job, made, kind.tolerance)


def _parity_error(job: ExportJob, made: ParityResult, tolerance: float) -> StoreError:
    return StoreError(
        f"{job.source}, fold {made.fold}: over {len(job.samples)} clips the probabilities of {made.target} differ by "
        f"up to {made.difference:.2g} from those of Keras, more than {tolerance:g}; nothing was written. Choose "
        f"another format with --to, or allow more with --tolerance."
    )


def _write_bundle(part: Path, job: ExportJob, kind: ExportTarget, made: Sequence[ParityResult]) -> None:
    """Write the training histories, the model card and ``bundle.json`` of an exported bundle."""
    for path in job.source.glob(f"fold-*/{HISTORY_FILE}"):
        shutil.copy(path, part / path.parent.name)
    converters = {name: version(name) for name in kind.packages}
    card = replace(job.card, runtime=kind.runtime, versions={**job.card.versions, **converters})
    (part / model_card.MODEL_CARD_FILE).write_text(_model_card_page(card, made, len(job.samples)), encoding="utf-8")
    bundle.write_card(part, replace(card, files=bundle.file_checksums(part)))


def _model_card_page(card: bundle.Card, made: Sequence[ParityResult], clips: int) -> str:
    """Write the model card, followed by the comparison with the original networks."""
    compared = model_card.markdown_table(parity.parity_table(made, clips))
    return f"{model_card.card_page(card).rstrip()}\n\n## Comparison with the original network\n{compared}\n"
