"""Stage ``demo``: write four small corpora of synthetic speech in the layouts of the real ones."""

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pipeline.core import config, errors, files
from pipeline.core.errors import CorpusError
from pipeline.core.files import SYNTHETIC_MARKER, is_system_file
from pipeline.corpora import crema_d
from pipeline.demo import takes as demo_takes
from pipeline.demo import voice
from pipeline.demo.takes import Take, plan_takes

with errors.require_system_library("libsndfile"):
    import soundfile

Samples = npt.NDArray[np.int16]
DEMO_FOLDER = Path("data/raw/demo")
CHECKSUM_FILE = "SHA256SUMS"  # the list of all files written by the demo
NOTICE = (
    "Synthetic speech, made by ser-features (python -m pipeline.demo): no person speaks here, and scores on it "
    "say nothing about people.\nIt borrows file names and layout from {0} to try the pipeline, and is no part of {0}.\n"
)
SYSTEM_FILE_CONTENTS = {  # files as left by operating systems, which ingest must ignore
    "RAVDESS/.DS_Store": b"\x00\x00\x00\x01Bud1" + bytes(4088),
    "RAVDESS/Actor_01/._03-01-01-01-01-01-01.wav": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(96),
    "TESS/Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
}


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Section ``data.demo`` of params.yaml."""

    clips: int = 400
    max_bad: float = 0.1  # share of unusable files that ``ingest`` accepts

    def __post_init__(self) -> None:
        config.check_share(self.max_bad, "data.demo.max_bad")


def run(folder: Path, *, clips: int, seed: int) -> int:
    """Write the corpora atomically into ``folder``; return the number of files.

    Raises:
        SettingError: the number of clips is out of range.
        CorpusError: ``folder`` contains files that the demo did not write.
    """
    start = time.perf_counter()
    takes = plan_takes(clips, seed)
    check_replaceable(folder)
    files.remove_stale_files(folder)
    with files.atomic_write(folder) as part:
        seconds = sum(write_take(take, part, seed) for take in tqdm(takes, "demo", unit="clip", disable=None))
        _write_notices_and_tables(
            part, {take.spec.info.title for take in takes}, demo_takes.crema_d_tables(takes, seed)
        )
        (part / CHECKSUM_FILE).write_text(_format_checksums(_hash_files(part)), encoding="utf-8", newline="\n")
        check_replaceable(folder)
    print(f"{len(takes)} clips, {seconds:.0f} s of synthetic speech, in {folder}, {time.perf_counter() - start:.1f} s")
    return len(takes)


def check_replaceable(folder: Path) -> None:
    """Check that the folder contains only files written by the demo, because it will be replaced.

    Files must match the list of checksums; without a list, from an older version, every subfolder must have the marker.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CorpusError(f"{folder} is where the demo goes, but it is no folder: move it away.")
    listed = folder / CHECKSUM_FILE
    if listed.is_file():
        strange = _list_foreign_files(folder, listed.read_text(encoding="utf-8", errors="replace"))
    else:
        strange = [path.name for path in sorted(folder.glob("*")) if not (path / SYNTHETIC_MARKER).is_file()]
    if strange:
        remedy = "move it away"
        raise CorpusError(f"{folder} is where the demo goes, but it holds {strange[0]}, not made by it: {remedy}.")


def _list_foreign_files(folder: Path, listed: str) -> list[str]:
    """List the files below a folder that do not match a list of checksums, and the links to anything but files."""
    links = [
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() and not path.is_file()
    ]
    known = set(listed.splitlines())
    return sorted(
        [*links, *(name for name, sha in _hash_files(folder).items() if _format_checksum(name, sha) not in known)]
    )


def _hash_files(folder: Path) -> dict[str, str]:
    """Compute the SHA-256 of all files below a folder, except the list itself and files of the operating system."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    ignored = {name for name, path in found.items() if is_system_file(path) and name not in SYSTEM_FILE_CONTENTS}
    return {name: files.file_hash(path) for name, path in found.items() if name not in {CHECKSUM_FILE, *ignored}}


def _format_checksums(found: Mapping[str, str]) -> str:
    """Format a list for ``sha256sum --check``."""
    return "".join(f"{_format_checksum(name, sha)}\n" for name, sha in found.items())


def _format_checksum(name: str, sha256: str) -> str:
    """Format one line of the list."""
    return f"{sha256}  {name}"


def write_take(take: Take, root: Path, seed: int) -> float:
    """Write one file; return its duration in seconds."""
    corpus = root / take.spec.info.title
    path = corpus / take.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if take.pointer:
        path.write_bytes(take.pointer.encode())
        return 0.0
    if take.twin:
        shutil.copyfile(corpus / take.twin, path)
    else:
        soundfile.write(path, synthesise_take(take, seed), take.rate, subtype="PCM_16", format=take.container)
    if take.fault == "truncated":
        os.truncate(path, path.stat().st_size * 3 // 5)
    return float(soundfile.info(path).duration)


def synthesise_take(take: Take, seed: int) -> Samples:
    """Synthesise a take with its own random generators. Shape: ``(samples,)`` or ``(samples, channels)``."""
    rng = take_rng(seed, take, take.path)
    speaker = voice.sample_speaker(take_rng(seed, take, take.speaker), take.spec.info.speakers[take.speaker].sex)
    studio = voice.RecordingConditions(
        rate=take.rate,
        level=take.spec.level,
        floor=take.spec.floor,
        silence=take.spec.silence,
        tempo=take.spec.tempo,
    )
    speech = voice.synthesise_speech(rng, speaker, take.emotion, take.text, recording=studio, strength=take.strength)
    samples = _apply_fault(np.rint(speech * 32767).astype(np.int16), take.fault)
    return samples if take.channels == 1 else np.repeat(samples[:, None], take.channels, axis=1)


def take_rng(seed: int, take: Take, name: str) -> np.random.Generator:
    """Return the random generator of a speaker or a take, independent of what else is made."""
    return np.random.default_rng([seed, crc32(f"{take.spec.info.name}/{name}".encode())])


def _apply_fault(samples: Samples, fault: str) -> Samples:
    """Apply a fault to the samples: silence but for the last bit, or 50 samples at full scale."""
    if fault == "silent":
        return (np.arange(samples.size) % 3 - 1).astype(np.int16)
    if fault == "clipped":
        samples[samples.size // 2 :][:50] = np.iinfo(np.int16).max
    return samples


def _write_notices_and_tables(root: Path, titles: Iterable[str], tables: Mapping[str, str]) -> None:
    """Add a notice to each folder, CREMA-D's tables, and the files that operating systems leave."""
    tables_content = {f"{crema_d.INFO.title}/{name}": text.encode() for name, text in tables.items()}
    for title in titles:
        (root / title / SYNTHETIC_MARKER).write_text(NOTICE.format(title), encoding="utf-8", newline="\n")
    for name, content in (SYSTEM_FILE_CONTENTS | tables_content).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> None:
    """Read params.yaml and write the demo."""
    params = config.read_params()
    settings = config.read_section(Demo, params, "data.demo")
    run(DEMO_FOLDER, clips=settings.clips, seed=config.read_seed(params))
