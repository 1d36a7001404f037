"""Which files of a tree are worth a look, told by their paths alone."""

from pathlib import PurePath

SYSTEM = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
MARKER = "SYNTHETIC.txt"  # the demo puts it into the folders of its corpora
AUDIO = frozenset(  # by the names of what libsndfile reads
    {
        ".wav", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".flac", ".ogg", ".oga",
        ".opus", ".mp3", ".mp2",
    }
)  # fmt: skip


def is_system(path: PurePath) -> bool:
    """Say whether an operating system, not a person, left the file there.

    >>> is_system(PurePath("__MACOSX/Actor_01/x.wav")), is_system(PurePath("._x.wav"))
    (True, True)
    """
    return path.name.startswith("._") or path.name.casefold() in SYSTEM or "__MACOSX" in path.parts


def is_audio(path: PurePath) -> bool:
    """Say whether the extension is that of a recording, in any case.

    >>> is_audio(PurePath("a.WAV")), is_audio(PurePath("a.txt"))
    (True, False)
    """
    return path.suffix.casefold() in AUDIO
