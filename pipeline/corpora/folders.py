"""User corpora with a folder per emotion: ``[<split>/][<speaker>/]<emotion>/[<speaker>/]<anything>.wav``.

Nothing is guessed: if no folder is named after an emotion, or two disagree, the clip is rejected with a reason. Single
letters are not accepted as emotions: A is fear in EmoDB and anger in SAVEE. A file named like one of a known corpus
keeps its speaker from there, so that a re-sorted corpus cannot put one person on both sides of a split.
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import PurePath

from pipeline.corpora.info import Clip, NameRefused, Page
from pipeline.corpora.known import KNOWN, recognise

NAMES = {
    "angry": "angry anger ang wut",
    "disgust": "disgust disgusted dis ekel",
    "fear": "fear fearful fea afraid scared anxiety anxious angst",
    "happy": "happy happiness hap joy joyful freude",
    "neutral": "neutral neu",
    "sad": "sad sadness trauer",
    "surprise": "surprise surprised suprise suprised ps pleasant_surprise pleasant_surprised",
    "calm": "calm",
    "boredom": "boredom bored boredem langeweile",
}
ALIASES = {alias: emotion for emotion, aliases in NAMES.items() for alias in aliases.split()}
SPLITS = frozenset({"train", "val", "valid", "validation", "dev", "test"})  # not speakers; ignored


def normalise(folder: str) -> str:
    """Normalise a folder name to the form of the aliases: without case, numbering and TESS speaker.

    >>> normalise("01 - Angry"), normalise("OAF_Pleasant-Surprise")
    ('angry', 'pleasant_surprise')
    """
    name = re.sub(r"[\s_-]+", "_", folder.casefold())
    return re.sub(r"^[\d_.]*(?:[oy]af_)?", "", name)


def alias(folder_name: str) -> str | None:
    """Return the canonical emotion of a folder name, or None.

    >>> alias("Suprised"), alias("Actor_01")
    ('surprise', None)
    """
    return ALIASES.get(normalise(folder_name))


def label(path: PurePath) -> str:
    """Return the nearest folder above a file that is named after an emotion.

    Raises:
        NameRefused: ``unknown_name`` without such a folder, ``label_mismatch`` if two disagree.
    """
    found = [folder for folder in path.parts[:-1] if alias(folder)]
    if not found:
        raise NameRefused("unknown_name", nameless(path))
    if len({alias(folder) for folder in found}) > 1:
        claims = " and ".join(f"{folder!r} ({alias(folder)})" for folder in found)
        raise NameRefused("label_mismatch", f"{path.as_posix()} lies in folders that disagree: {claims}; keep one.")
    return found[-1]


def nameless(path: PurePath) -> str:
    """Report that no folder is named after an emotion, with a remedy."""
    where = f"the folder {path.parent.name!r}" if path.parent.name else "no folder"
    known = recognise(path)
    remedy = f"the name is one of {KNOWN[known].title}, so list it as {known}" if known else "rename the folder"
    return f"{path.as_posix()} lies in {where}, expected one named {', '.join(NAMES)} or alike: {remedy}."


def speaker(path: PurePath, name: str) -> str:
    """Return the speaker: the only folder that is neither emotion nor split, or ``""`` if there are several."""
    rest = [folder for folder in path.parts[:-1] if not alias(folder) and folder.casefold() not in SPLITS]
    return f"{name}/{rest[0]}" if len(rest) == 1 else ""


def parse(path: PurePath, *, name: str) -> Clip:
    """Parse the emotion from the folders, and the rest from a known corpus' file name or the remaining folder.

    >>> parse(PurePath("train/Angry/anna/1.wav"), name="mine").speaker
    'mine/anna'
    >>> parse(PurePath("Angry/1001_DFA_ANG_XX.wav"), name="mine").speaker
    'crema_d/1001'

    Raises:
        NameRefused: ``unknown_name``, ``label_mismatch``, or ``out_of_scope`` as the known corpus says.
    """
    folder = label(path)
    code = normalise(folder)
    known = recognise(path)
    if known is None:
        speaker_id = speaker(path, name)
        return Clip(corpus=name, path=path.as_posix(), speaker=speaker_id, emotion=ALIASES[code], emotion_code=code)
    clip = KNOWN[known].parse(path)
    if clip.emotion != ALIASES[code]:
        title = KNOWN[known].title
        claims = f"the folder {folder!r} says {ALIASES[code]}, the {title} name says {clip.emotion}"
        raise NameRefused("label_mismatch", f"{path.as_posix()}: {claims}; move the file or leave it out.")
    return replace(clip, corpus=name, emotion_code=code)


def page(name: str) -> Page:
    """Describe a user's own corpus."""
    return Page(
        name=name,
        title=name,
        language="",
        sample_rate=0,
        licence="not stated: ask whoever gave you the recordings",
        citation="",
        source="",
        example="angry/1.wav",
        clips=0,
        hours=0,
        emotions=ALIASES,
        speakers={},
        stem=re.compile(r".+", re.DOTALL),
        parse=partial(parse, name=name),
    )
