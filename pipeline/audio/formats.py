"""Detect unsupported audio formats by name and content, and suggest the shell command that converts them.

Recordings are decoded by libsndfile. Phones, browsers, cameras and messengers write formats that it cannot read but
ffmpeg can. Nothing is converted here, so that the user decides how.
"""

import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeVar

from pipeline.core import paths
from pipeline.core.files import is_audio_file

LINE_WIDTH = 90  # characters per line
HEAD_SIZE = 512  # bytes, enough to detect each format
AnyPath = TypeVar("AnyPath", bound=PurePath)


@dataclass(frozen=True)
class UnsupportedFormat:
    """An unsupported format."""

    title: str
    suffixes: tuple[str, ...]  # the most common first; empty for a variant of a supported format
    begins: str  # regular expression for the first bytes

    @property
    def suffix(self) -> str:
        """The most common suffix."""
        return self.suffixes[0] if self.suffixes else ".old"


def _make_format(title: str, suffixes: str, begins: str) -> UnsupportedFormat:
    return UnsupportedFormat(title, tuple(f".{suffix}" for suffix in suffixes.split()), begins)


UNSUPPORTED_FORMATS = (
    _make_format(
        "MPEG-4",
        "m4a mp4 m4v m4b m4r m4p mov qt 3gp 3gpp 3g2 f4v f4a aax",
        r".{4}ftyp|.{4}(moov|mdat|wide|free|skip|pnot).{4}",
    ),
    _make_format("Matroska", "mka mkv webm weba", r"\x1aE\xdf\xa3"),
    _make_format("AMR", "amr awb", r"#!AMR"),
    _make_format("Windows Media", "wma wmv asf", r"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel"),
    _make_format("AAC", "aac adts loas latm", r"\xff[\xf0\xf1\xf8\xf9]|V[\xe0-\xff]|ADIF"),
    _make_format("AVI", "avi", r"RIFF.{4}AVI "),
    _make_format("Flash video", "flv", r"FLV\x01"),
    _make_format("MPEG video", "mpg mpeg vob mts m2ts m2t", r"\0\0\x01[\xb3\xba]|(.{4})?G.{187}(.{4})?G.{187}(.{4})?G"),
    _make_format("Ogg without Vorbis or Opus", "ogx spx ogv", r"OggS.{24}(Speex|\x80theora|\x7fFLAC|fishead)"),
    _make_format("Dolby Digital", "ac3 eac3 ec3", r"\x0bw"),
    _make_format("DTS", "dts", r"\x7f\xfe\x80\x01"),
    _make_format("RealMedia", "ra rm rmvb ram", r"\.RMF|\.ra\xfd"),
    _make_format("Monkey's Audio", "ape", r"MAC "),
    _make_format("WavPack", "wv", r"wvpk"),
    _make_format("True Audio", "tta", r"TTA[12]"),
    _make_format("Musepack", "mpc", r"MPCK|MP\+"),
    _make_format("TAK", "tak", r"tBaK"),
    _make_format("DSD", "dsf dff", r"DSD |FRM8"),
    _make_format("GSM", "gsm", r"(?!)"),  # it has no header
    _make_format("a dictation", "dss ds2", r"\x02dss|\x03d(s2|ss)"),
    _make_format("MXF", "mxf", r"\x06\x0e\+4\x02\x05\x01\x01"),
    _make_format("CAF in a coding other than PCM", "", r"caff.{4}desc.{16}(?!lpcm|alaw|ulaw)"),
    # Yamaha, G.723.1, G.726, MPEG 2, AAC, GSM AMR, WMA, Dolby, DTS, Vorbis, FLAC
    _make_format(
        "WAV in a coding other than PCM",
        "",
        r"(RIFF|RF64).{4}WAVE.{0,400}?fmt .{4}"
        r"([\x20\x42\x45\x50\xff]\0|\x36W|[\x60-\x63]\x01|\x10\x16|[\0\x01]\x20|Vo|[o-q]g|\xac\xf1)",
    ),
)
BY_SUFFIX = {suffix: each for each in UNSUPPORTED_FORMATS for suffix in each.suffixes}
BY_CONTENT = {each: re.compile(each.begins.encode("latin-1"), re.DOTALL) for each in UNSUPPORTED_FORMATS}


def format_by_name(path: PurePath) -> UnsupportedFormat | None:
    """Look up the unsupported format of a file's suffix, or None.

    >>> format_by_name(PurePath("memo.M4A")).title, format_by_name(PurePath("memo.wav"))
    ('MPEG-4', None)
    """
    return BY_SUFFIX.get(path.suffix.casefold())


def format_by_content(head: bytes) -> UnsupportedFormat | None:
    """Detect the unsupported format of a file from its first ``HEAD`` bytes, or None.

    >>> format_by_content(bytes([0, 0, 0, 32]) + b"ftypM4A ").title, format_by_content(b"RIFF....WAVEfmt ")
    ('MPEG-4', None)
    """
    return next((each for each, begins in BY_CONTENT.items() if begins.match(head)), None)


def drop_converted(paths: Iterable[AnyPath]) -> list[AnyPath]:
    """Drop files in unsupported formats that have a converted copy next to them, see `conversion_command`.

    The copy is a recording of the same stem or, if several files share a stem, one named after the full name.

    >>> [path.name for path in drop_converted(map(PurePath, ["a.m4a", "a.wav", "b.m4a", "c.m4a", "c.amr", "c.wav"]))]
    ['a.wav', 'b.m4a', 'c.m4a', 'c.amr', 'c.wav']
    """
    files = list(paths)
    supported = {path.with_suffix("") for path in files if is_audio_file(path)}
    stems = Counter(path.with_suffix("") for path in files if format_by_name(path))
    done = {stem for stem, count in stems.items() if count == 1} & supported
    return [
        path
        for path in files
        if not format_by_name(path) or (path.with_suffix("") not in done and path not in supported)
    ]


def list_unsupported(paths: Iterable[AnyPath]) -> list[AnyPath]:
    """List the files in unsupported formats, by their names, that were not converted."""
    return [path for path in drop_converted(paths) if format_by_name(path)]


def unsupported_message(name: str, head: bytes, *, path: str = "") -> str:
    """Name the unsupported format of a file and the command that converts it; ``""`` for an unknown format.

    Args:
        name: of the file, for the message.
        head: its first bytes.
        path: of the file, as a user would type it; empty if it is not on disk.
    """
    detected, named = format_by_content(head), format_by_name(PurePath(name))
    found = detected or named
    if found is None:
        return ""
    suffix = PurePath(name).suffix
    other = f" under the name {suffix}" if detected and detected is not named and detected.suffixes and suffix else ""
    line = conversion_command(path, found) if path else f"ffmpeg -i recording{found.suffix} recording.wav"
    return f"{name} is {found.title}{other}, which is not read here; convert it: {line}"


def conversion_command(path: str, found: UnsupportedFormat) -> str:
    """Return the bash command that converts one file, after renaming it if its suffix is wrong.

    >>> conversion_command("my memo.m4a", UNSUPPORTED_FORMATS[0])
    "ffmpeg -i 'my memo.m4a' 'my memo.wav'"
    >>> conversion_command("memo.wav", UNSUPPORTED_FORMATS[0])
    'mv -n memo.wav memo.m4a && ffmpeg -i memo.m4a memo.wav'
    """
    given, target = PurePath(path), _quote_path(str(PurePath(path).with_suffix(".wav")))
    if not is_audio_file(given):
        return f"ffmpeg -i {_quote_path(path)} {target}"
    right = _quote_path(str(given.with_suffix(found.suffix)))
    return f"mv -n {_quote_path(path)} {right} && ffmpeg -i {right} {target}"


def conversion_advice(paths: Sequence[PurePath], folder: str = "") -> list[str]:
    """Count the files in unsupported formats and give the bash command that converts them, as lines of text.

    >>> conversion_advice([PurePath("a/1.m4a"), PurePath("a/2.m4a"), PurePath("a/3.AMR")], "a")[0]
    '3 files are in formats that are not read (1 amr, 2 m4a), such as a/1.m4a; this converts them:'

    Args:
        paths: the files.
        folder: the folder that contains them, as a user would type it; empty for their common parent.
    """
    if not paths:
        return []
    suffixes = Counter(path.suffix.casefold()[1:] for path in paths)
    by_suffix = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(suffixes.items()))
    subject = f"{len(paths):,} files are in formats that are" if len(paths) > 1 else "1 file is in a format that is"
    return [
        f"{subject} not read ({by_suffix}), such as {min(paths)}; this converts {'them' if len(paths) > 1 else 'it'}:",
        batch_conversion_command(folder or os.path.commonpath([path.parent for path in paths]), paths),
    ]


def batch_conversion_command(folder: str, paths: Iterable[PurePath]) -> str:
    """Return the bash command that converts all files below a folder with the suffixes of ``paths``.

    Each WAV is written next to its original, named after the full name if stems repeat; none is overwritten.
    """
    files = list(paths)
    names = " -o ".join(f"-iname '*{suffix}'" for suffix in sorted({path.suffix.casefold() for path in files}))
    shared = len({path.with_suffix("") for path in files}) < len(files)
    target = "$f.wav" if shared else "${f%.*}.wav"
    work = f'for f; do ffmpeg -nostdin -n -i "$f" "{target}"; done'
    chosen = textwrap.wrap(f"\\( {names} \\)", LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [f"find {_quote_path(folder or '.')} ! -type d", *chosen, f"-exec sh -c '{work}' sh {{}} +"]
    return " \\\n  ".join(lines)


def _quote_path(path: str) -> str:
    """Quote a path so that no program mistakes it for an option or a URL.

    >>> _quote_path("-x.m4a"), _quote_path("10:30.m4a"), _quote_path("/a/10:30.m4a")
    ('./-x.m4a', './10:30.m4a', '/a/10:30.m4a')
    """
    first = path.partition("/")[0]
    plain = path.startswith("/") or (":" not in first and (first[:1].isalnum() or first.startswith(".")))
    return paths.shell_quote(path if plain else f"./{path}")
