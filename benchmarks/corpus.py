"""The corpora that the benchmarks measure, and the sizes of the measurements."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.timing import quiet
from pipeline.core import config
from pipeline.corpora import registry
from pipeline.ingest import measure, stage
from pipeline.signal import extractor, settings
from pipeline.signal.settings import Audio, Augment, Noise

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data/raw/demo"
FEWEST = 8  # clips that a measurement needs
SHORTEST = 1.0  # s: the published window begins at 0.6 s
EVERYTHING = measure.ClipLimits(max_bad=1)
SAME = extractor.ExtractorSettings(  # the settings of `published_way`
    seed=42,
    audio=Audio(sample_rate=22_050, trim_db=None, offset=0.6, seconds=2.5),
    augment=Augment(noise=Noise(snr_db=None, peak_share=(0.0, 0.035)), pitch=0.7),
    features=extractor.ViewSettings(
        mfcc=settings.Mfcc(n_fft=2048, hop=512, n_mels=128), logmel=settings.LogMel(n_fft=2048, hop=512, n_mels=128)
    ),
)


@dataclass(frozen=True)
class Corpus:
    """A folder of audio and the manifest of the clips to measure."""

    name: str
    folder: Path
    manifest: Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """The input of every part: corpora and sizes."""

    corpora: tuple[Corpus, ...]  # times are measured on the first
    scratch: Path
    workers: int = 2
    rounds: int = 4  # in which both sides alternate
    rows: int = 5_760  # of the table to load: RAVDESS with its augmented copies
    csv_rows: int = 2_000
    batches: int = 500
    sizes: tuple[int, ...] = (1_000, 4_000)  # clips of the corpora for which memory is measured

    @property
    def first(self) -> Corpus:
        """The corpus on which times are measured."""
        return self.corpora[0]


def standard() -> extractor.ExtractorSettings:
    """The extractor settings of params.yaml."""
    return extractor.settings_from_params(config.read_params(ROOT / "params.yaml"))


def root() -> Path:
    """The folder of the corpora: ``SER_CORPORA``, or that of the demo."""
    return Path(os.environ.get("SER_CORPORA") or DEMO)


def is_synthetic() -> bool:
    """Say whether the audio is the demo's synthetic speech."""
    return any((path / "SYNTHETIC.txt").exists() for path in root().glob("*"))


def gather(scratch: Path, *, clips: int, workers: int) -> tuple[Corpus, ...]:
    """Ingest all corpora in `root`, RAVDESS first, and keep at most `clips` clips of each."""
    folders = {page.name: root() / page.title for page in registry.KNOWN_CORPORA.values()}
    found = tuple(
        take(name, folder, scratch, clips=clips, workers=workers) for name, folder in folders.items() if folder.is_dir()
    )
    if not found:
        raise SystemExit(f"{root()} holds no corpus: run 'make repro' first, or set SER_CORPORA to a folder of them.")
    return found


def take(name: str, folder: Path, scratch: Path, *, clips: int, workers: int) -> Corpus:
    """Ingest a corpus and keep some of its usable clips, evenly chosen."""
    whole, part = scratch / "ingested" / f"{name}.parquet", scratch / f"{name}.parquet"
    with quiet():
        stage.run(name, folder, whole, limits=EVERYTHING, processes=workers)
    table = pq.read_table(whole)
    usable = table.filter(pc.and_(pc.equal(table["status"], "ok"), pc.greater(table["seconds"], SHORTEST)))
    if len(usable) < FEWEST:
        raise SystemExit(f"{folder} holds {len(usable)} usable clips, {FEWEST} are needed: is the corpus complete?")
    write(usable, spread(len(usable), clips), part)
    return Corpus(name, folder, part)


def spread(count: int, wanted: int) -> npt.NDArray[np.int64]:
    """Choose at most `wanted` of `count` rows, evenly spaced.

    >>> spread(10, 4).tolist(), spread(3, 9).tolist()
    ([0, 2, 5, 7], [0, 1, 2])
    """
    wanted = min(count, wanted)
    return np.arange(wanted) * count // wanted


def write(table: pa.Table, rows: npt.NDArray[np.int64], target: Path) -> Path:
    """Write some rows of a manifest to a new manifest."""
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.take(pa.array(rows)), target)
    return target


def count(corpus: Corpus) -> int:
    """Count the clips of a corpus that are measured."""
    return int(pq.read_metadata(corpus.manifest).num_rows)
