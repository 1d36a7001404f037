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

from pipeline.core import config, extras, files
from pipeline.core.errors import CorpusError
from pipeline.core.files import MARKER, is_system
from pipeline.corpora import crema_d
from pipeline.demo import takes as demo_takes
from pipeline.demo import voice
from pipeline.demo.takes import Take, plan

with extras.system_library("libsndfile"):
    import soundfile

Samples = npt.NDArray[np.int16]
FOLDER = Path("data/raw/demo")
SUMS = "SHA256SUMS"  # the list of what the demo made
NOTICE = (
    "Synthetic speech, made by ser-features (python -m pipeline.demo): no person speaks here, and scores on it "
    "say nothing about people.\nIt borrows file names and layout from {0} to try the pipeline, and is no part of {0}.\n"
)
LITTER = {  # what operating systems leave behind; ingest must not take it for audio
    "RAVDESS/.DS_Store": b"\x00\x00\x00\x01Bud1" + bytes(4088),
    "RAVDESS/Actor_01/._03-01-01-01-01-01-01.wav": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(96),
    "TESS/Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
}


@dataclass(frozen=True, kw_only=True)
class Demo:
    """How large the demo is, and which share of its files may be bad, which ``ingest`` asks for."""

    clips: int = 400
    max_bad: float = 0.1

    def __post_init__(self) -> None:
        config.share(self.max_bad, "data.demo.max_bad")


def run(folder: Path, *, clips: int, seed: int) -> int:
    """Write the corpora aside, then put them in place of ``folder``; give the number of files.

    Raises:
        SettingError: a number of clips that gives no four corpora.
        CorpusError: ``folder`` holds something that the demo did not make.
    """
    start = time.perf_counter()
    takes = plan(clips, seed)
    refuse_strangers(folder)
    files.remove_leftovers(folder)
    with files.atomic_write(folder) as aside:
        seconds = sum(write(take, aside, seed) for take in tqdm(takes, "demo", unit="clip", disable=None))
        furnish(aside, {take.troupe.page.title for take in takes}, demo_takes.crema_d_tables(takes, seed))
        (aside / SUMS).write_text(sums(checksums(aside)), encoding="utf-8", newline="\n")
        refuse_strangers(folder)
    print(f"{len(takes)} clips, {seconds:.0f} s of synthetic speech, in {folder}, {time.perf_counter() - start:.1f} s")
    return len(takes)


def refuse_strangers(folder: Path) -> None:
    """Keep the demo from deleting what it has not made.

    Only what its list names goes, unaltered; where an older version wrote no list, the folders with its marker.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CorpusError(f"{folder} is where the demo goes, but it is no folder: move it away.")
    listed = folder / SUMS
    if listed.is_file():
        strange = strangers(folder, listed.read_text(encoding="utf-8", errors="replace"))
    else:
        strange = [path.name for path in sorted(folder.glob("*")) if not (path / MARKER).is_file()]
    if strange:
        remedy = "move it away"
        raise CorpusError(f"{folder} is where the demo goes, but it holds {strange[0]}, not made by it: {remedy}.")


def strangers(folder: Path, listed: str) -> list[str]:
    """Name the files below a folder that are not as a list says, and links to no file."""
    links = [
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() and not path.is_file()
    ]
    known = set(listed.splitlines())
    return sorted([*links, *(name for name, sha in checksums(folder).items() if line(name, sha) not in known)])


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of all files below a folder but the list of them and what file managers leave."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    litter = {name for name, path in found.items() if is_system(path) and name not in LITTER}
    return {name: files.file_hash(path) for name, path in found.items() if name not in {SUMS, *litter}}


def sums(found: Mapping[str, str]) -> str:
    """Write a list that ``sha256sum --check`` reads."""
    return "".join(f"{line(name, sha)}\n" for name, sha in found.items())


def line(name: str, sha256: str) -> str:
    """Write a line of the list."""
    return f"{sha256}  {name}"


def write(take: Take, root: Path, seed: int) -> float:
    """Write a file; give its seconds of sound."""
    corpus = root / take.troupe.page.title
    path = corpus / take.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if take.pointer:
        path.write_bytes(take.pointer.encode())
        return 0.0
    if take.twin:
        shutil.copyfile(corpus / take.twin, path)
    else:
        soundfile.write(path, record(take, seed), take.rate, subtype="PCM_16", format=take.container)
    if take.fault == "truncated":
        os.truncate(path, path.stat().st_size * 3 // 5)
    return float(soundfile.info(path).duration)


def record(take: Take, seed: int) -> Samples:
    """Make the sound of a take from streams of its own. Shape: ``(samples,)`` or ``(samples, channels)``."""
    rng = stream(seed, take, take.path)
    speaker = voice.cast(stream(seed, take, take.speaker), take.troupe.page.speakers[take.speaker].sex)
    studio = voice.Recording(
        rate=take.rate,
        level=take.troupe.level,
        floor=take.troupe.floor,
        silence=take.troupe.silence,
        tempo=take.troupe.tempo,
    )
    speech = voice.speak(rng, speaker, take.emotion, take.text, recording=studio, strength=take.strength)
    samples = spoil(np.rint(speech * 32767).astype(np.int16), take.fault)
    return samples if take.channels == 1 else np.repeat(samples[:, None], take.channels, axis=1)


def stream(seed: int, take: Take, name: str) -> np.random.Generator:
    """Give a speaker or a take its own randomness, whatever else is made."""
    return np.random.default_rng([seed, crc32(f"{take.troupe.page.name}/{name}".encode())])


def spoil(samples: Samples, fault: str) -> Samples:
    """Put a fault of the sound into it: nothing but the last bit, or full scale for 50 samples."""
    if fault == "silent":
        return (np.arange(samples.size) % 3 - 1).astype(np.int16)
    if fault == "clipped":
        samples[samples.size // 2 :][:50] = np.iinfo(np.int16).max
    return samples


def furnish(root: Path, titles: Iterable[str], tables: Mapping[str, str]) -> None:
    """Say in each folder what it is, add CREMA-D's tables, and leave the litter of two operating systems."""
    content = {f"{crema_d.PAGE.title}/{name}": text.encode() for name, text in tables.items()}
    for title in titles:
        (root / title / MARKER).write_text(NOTICE.format(title), encoding="utf-8", newline="\n")
    for name, written in (LITTER | content).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)


def main() -> None:
    """Read params.yaml and make the demo."""
    params = config.read()
    settings = config.section(Demo, params, "data.demo")
    run(FOLDER, clips=settings.clips, seed=config.seed(params))
