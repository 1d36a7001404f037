"""User corpora with a folder per emotion: ``[<split>/][<speaker>/]<emotion>/[<speaker>/]<anything>.wav``.

Nothing is guessed: if no folder is named after an emotion, or two disagree, the clip is rejected with a reason. Single
letters are not accepted as emotions: A is fear in EmoDB and anger in SAVEE. A file named like one of a known corpus
keeps its speaker from there, so that a re-sorted corpus cannot put one person on both sides of a split.
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import PurePath

from pipeline.core import config
from pipeline.corpora.info import Clip, CorpusInfo, FileNameError
from pipeline.corpora.registry import KNOWN_CORPORA, recognise_corpus

EMOTION_ALIASES = {
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
EMOTION_BY_ALIAS = {alias: emotion for emotion, aliases in EMOTION_ALIASES.items() for alias in aliases.split()}
SPLIT_FOLDERS = frozenset({"train", "val", "valid", "validation", "dev", "test"})  # not speakers; ignored


def _normalise_name(folder: str) -> str:
    """Normalise a folder name to the form of the aliases: without case, numbering and TESS speaker.

    >>> _normalise_name("01 - Angry"), _normalise_name("OAF_Pleasant-Surprise")
    ('angry', 'pleasant_surprise')
    """
    name = re.sub(r"[\s_-]+", "_", folder.casefold())
    return re.sub(r"^[\d_.]*(?:[oy]af_)?", "", name)


def emotion_of_folder(folder_name: str) -> str | None:
    """Return the canonical emotion of a folder name, or None.

    >>> emotion_of_folder("Suprised"), emotion_of_folder("Actor_01")
    ('surprise', None)
    """
    return EMOTION_BY_ALIAS.get(_normalise_name(folder_name))


def _find_emotion_folder(path: PurePath) -> str:
    """Return the nearest folder above a file that is named after an emotion.

    Raises:
        NameRefused: ``unknown_name`` without such a folder, ``label_mismatch`` if two disagree.
    """
    found = [folder for folder in path.parts[:-1] if emotion_of_folder(folder)]
    if not found:
        raise FileNameError("unknown_name", _no_emotion_message(path))
    if len({emotion_of_folder(folder) for folder in found}) > 1:
        claims = " and ".join(f"{folder!r} ({emotion_of_folder(folder)})" for folder in found)
        raise FileNameError("label_mismatch", f"{path.as_posix()} lies in folders that disagree: {claims}; keep one.")
    return found[-1]


def _no_emotion_message(path: PurePath) -> str:
    """Report that no folder is named after an emotion, with a remedy."""
    where = f"the folder {path.parent.name!r}" if path.parent.name else "no folder"
    known = recognise_corpus(path)
    remedy = f"the name is one of {KNOWN_CORPORA[known].title}, so list it as {known}" if known else "rename the folder"
    return f"{path.as_posix()} lies in {where}, expected one named {', '.join(EMOTION_ALIASES)} or alike: {remedy}."


def _find_speaker(path: PurePath, name: str) -> str:
    """Return the speaker: the only folder that is neither emotion nor split, or ``""`` if there are several."""
    rest = [
        folder for folder in path.parts[:-1] if not emotion_of_folder(folder) and folder.casefold() not in SPLIT_FOLDERS
    ]
    return f"{name}/{rest[0]}" if len(rest) == 1 else ""


def _parse_path(path: PurePath, *, name: str) -> Clip:
    """Parse the emotion from the folders, and the rest from a known corpus' file name or the remaining folder.

    >>> _parse_path(PurePath("train/Angry/anna/1.wav"), name="mine").speaker
    'mine/anna'
    >>> _parse_path(PurePath("Angry/1001_DFA_ANG_XX.wav"), name="mine").speaker
    'crema_d/1001'

    Raises:
        NameRefused: ``unknown_name``, ``label_mismatch``, or ``out_of_scope`` as the known corpus says.
    """
    folder = _find_emotion_folder(path)
    code = _normalise_name(folder)
    known = recognise_corpus(path)
    if known is None:
        speaker_id = _find_speaker(path, name)
        return Clip(
            corpus=name, path=path.as_posix(), speaker=speaker_id, emotion=EMOTION_BY_ALIAS[code], emotion_code=code
        )
    clip = KNOWN_CORPORA[known].parse(path)
    if clip.emotion != EMOTION_BY_ALIAS[code]:
        title = KNOWN_CORPORA[known].title
        claims = f"the folder {folder!r} says {EMOTION_BY_ALIAS[code]}, the {title} name says {clip.emotion}"
        raise FileNameError("label_mismatch", f"{path.as_posix()}: {claims}; move the file or leave it out.")
    return replace(clip, corpus=name, emotion_code=code)


def folder_corpus_info(name: str) -> CorpusInfo:
    """Describe a user's own corpus."""
    return CorpusInfo(
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
        emotions=EMOTION_BY_ALIAS,
        speakers={},
        stem=re.compile(r".+", re.DOTALL),
        parse=partial(_parse_path, name=name),
    )


def corpus_info(name: str) -> CorpusInfo:
    """Return the description of a known corpus, or of a user's folder-per-emotion corpus of this name.

    >>> corpus_info("tess").clips, corpus_info("my_corpus").clips
    (2800, 0)

    Raises:
        SettingError: the name is not a valid corpus name.
    """
    config.check_corpus_name(name, "params.yaml: data.corpora:")
    return KNOWN_CORPORA[name] if name in KNOWN_CORPORA else folder_corpus_info(name)
