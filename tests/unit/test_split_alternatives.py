"""Corpora of a few clips, walked in full: each is split, or told what it lacks and what works, which is then done."""

import re
from itertools import product

import pandas as pd
import pytest

from pipeline.core import config
from pipeline.core.errors import SettingError
from pipeline.core.labels import Labels
from pipeline.split import alternatives
from pipeline.split.folds import PROTOCOLS, Split

EMOTIONS = ("angry", "happy", "sad", "boredom")  # the last one has a class under few schemes
VARIANTS = ("original", "noise")
STEPS = 4  # remedies that may follow one another


def table(cells, corpus="a"):
    """A corpus from (speaker, emotion): clips; the speaker "" has no name."""
    rows = [
        (f"{corpus}/{who}-{emotion}-{n}", corpus, f"{corpus}/{who}" if who else "", "", emotion)
        for (who, emotion), count in cells.items()
        for n in range(count)
    ]
    found = pd.DataFrame(rows, columns=["clip_id", "corpus", "speaker", "sex", "emotion"])
    return found.assign(samples_sha256="hash of " + found["clip_id"])


def even(speakers, classes, clips, corpus="a"):
    return table({(f"{n}", emotion): clips for n in range(speakers) for emotion in EMOTIONS[:classes]}, corpus)


def split(clips, settings):
    return alternatives.split_or_suggest(clips, settings, variants=VARIANTS, seed=7)


def verify(found, settings):
    """What each later stage needs of a split."""
    taught = found[(found["role"] == "train") & found["label"].notna()]
    for number, fold in found.groupby("fold"):
        assert len(set(taught.loc[taught["fold"] == number, "label"])) > 1
        assert (fold["role"] == "test").any()
        assert fold.loc[fold["role"] == "test", "label"].notna().all()
    if settings.protocol == "speaker":
        sides = found[found["speaker"] != ""].groupby(["fold", "speaker"])["role"].nunique()
        assert (sides == 1).all()


def changed(settings, line):
    """Settings after a line of `dvc exp run`, in quotes."""
    [line] = re.findall("'dvc exp run (.*)'", line)
    values = dict(config.flatten({"split": vars(settings) | {"labels": vars(settings.labels)}}))
    for name, value in re.findall(r"-S (\S+?)=(\S+)", line):
        assert name in values, name
        values[name] = {"true": True, "false": False}.get(value, value)
        if isinstance(value, str) and re.fullmatch(r"[\d.]+", value):
            values[name] = float(value) if "." in value else int(value)
    labels = {name.split(".")[2]: value for name, value in values.items() if name.count(".") == 2}
    own = {name.split(".")[1]: value for name, value in values.items() if name.count(".") == 1}
    return config.build_dataclass(Split, own | {"labels": labels}, "split")


def named(clips):
    """The files of each of two speakers in a folder of their own."""
    return clips.assign(speaker=[f"{corpus}/{n % 2}" for n, corpus in enumerate(clips["corpus"])])


def more(clips, words, people, count=3):
    """The clips and more of these speakers, who say what a remedy asks for."""
    emotions = [emotion for emotion in EMOTIONS if emotion in words]
    corpora = sorted(set(clips["corpus"]))
    added = pd.concat(
        [table({(who, emotion): count for who in people for emotion in emotions}, corpus) for corpus in corpora]
    )
    fresh = added["clip_id"] + f"-{len(clips)}"
    return pd.concat([clips, added.assign(clip_id=fresh, samples_sha256="hash of " + fresh)], ignore_index=True)


def enough(clips, words):
    """Twice the rows that a remedy asks for, as a fold of two leaves half of them."""
    return more(clips, words, "01", int(re.findall(r"\d+", words)[0]))


REMEDIES = {
    r"put the files of each speaker into a folder of their own": lambda clips, words: named(clips),
    r"add speakers who say (.*)": lambda clips, words: more(clips, words, ("new1", "new2", "new3")),
    r"add clips of another class": lambda clips, words: more(clips, "angry sad happy", ("0", "1")),
    r"add clips of two of these classes": lambda clips, words: more(clips, "angry sad", ("0", "1")),
    r"add to each corpus clips of the classes that another has \((.*)\)": lambda clips, words: more(clips, words, "01"),
    r"add clips of (.*) until there are \d+ rows of each": enough,
    r"add a corpus to data\.corpora": lambda clips, words: pd.concat([clips, even(3, 3, 2, corpus="z")]),
}


FOLLOWED = set()  # sentences without their numbers: what is to be added is added once for each


def follow(clips, settings, steps=STEPS, *, always=True):
    """Split, or follow each remedy that is given until it does."""
    try:
        verify(split(clips, settings), settings)
    except SettingError as error:
        said = str(error)
    else:
        return
    assert steps, said
    sentence, _, line = said.partition(" As they are, they can be split by ")
    if line:
        other = changed(settings, line)
        assert ("are heard in training" in line) == (other.protocol == "random" != settings.protocol)
        verify(split(clips, other), other)  # at once, and not only after another sentence
    kind = (settings.protocol, re.sub(r"\d+", "#", sentence))
    if kind in FOLLOWED and not always:
        return
    FOLLOWED.add(kind)
    remedy = sentence.rstrip(".").rsplit(": ", 1)[1]
    matches = [(do, re.match(pattern, remedy)) for pattern, do in REMEDIES.items()]
    [(do, match)] = [(do, match) for do, match in matches if match]
    follow(do(clips, match.group(0)), settings, steps - 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("speakers", [1, 2, 3, 4])
def test_every_small_corpus_is_split_or_told_what_works(protocol, speakers):
    for classes, clips in product(range(1, 5), range(1, 5)):
        own = even(speakers, classes, clips)
        other = even(2, classes, clips, corpus="b") if protocol == "corpus" and speakers > 1 else own.head(0)
        follow(pd.concat([own, other], ignore_index=True), Split(protocol=protocol, folds=2), always=False)


ODD = {
    "nobody is named": table({("", "angry"): 3, ("", "sad"): 3}),
    "one clip": table({("0", "angry"): 1}),
    "each speaker says one emotion": table({("0", "angry"): 3, ("1", "sad"): 3}),
    "each of four says one emotion": table(dict.fromkeys(zip("0123", EMOTIONS, strict=True), 2)),
    "two of each emotion": table({(str(n), EMOTIONS[n % 2]): 2 for n in range(4)}),
    "one class dominates": table({("0", "angry"): 9, ("1", "angry"): 9, ("2", "sad"): 1}),
    "some are named": table({("", "sad"): 4, ("0", "angry"): 2, ("1", "angry"): 2}),
    "no emotion has a class": table({("0", "boredom"): 3, ("1", "boredom"): 3}),
    "a class under another scheme": table({("0", "boredom"): 3, ("0", "sad"): 3, ("1", "boredom"): 3, ("1", "sad"): 3}),
    "two corpora, the same names": pd.concat([even(2, 2, 2), even(2, 2, 2, corpus="b")], ignore_index=True),
    "one of two corpora names nobody": pd.concat(
        [even(3, 2, 2), even(2, 2, 2, corpus="b").assign(speaker="")], ignore_index=True
    ),
    "no class in common": pd.concat(
        [table({("0", "angry"): 4}), table({("0", "sad"): 4}, corpus="b")], ignore_index=True
    ),
    "one class in common": pd.concat(
        [table({("0", "angry"): 4, ("1", "sad"): 4}), table({("0", "sad"): 4, ("1", "happy"): 4}, corpus="b")],
        ignore_index=True,
    ),
    "the same recording under two emotions": even(1, 2, 1).assign(samples_sha256="same"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ODD)
def test_odd_corpora_are_split_or_told_what_works(name, protocol):
    follow(ODD[name], Split(protocol=protocol, folds="loso" if protocol == "speaker" else 3))


@pytest.mark.parametrize(
    ("folds", "extra"),
    [("emodb_loso", {"shuffle": True}), (40, {"labels": Labels(scheme=4)}), (5, {"validation": 0.9})],
)
def test_settings_beside_the_protocol_are_proposed_too(folds, extra):
    clips = ODD["a class under another scheme"]
    with pytest.raises(SettingError, match=r"split\.folds|only sad is left") as said:
        split(clips, Split(folds=folds, **extra))
    line = str(said.value).partition("split by ")[2]
    other = changed(Split(folds=folds, **extra), line)
    verify(split(clips, other), other)


def test_one_speaker_is_told_of_a_protocol_that_needs_no_second():
    with pytest.raises(SettingError) as said:
        split(even(1, 2, 3), Split())
    assert str(said.value) == (
        "split.folds is 5, and the clips name 1 speaker, of whom every fold tests one at least: add speakers who say "
        "angry and happy. As they are, they can be split by 'dvc exp run -S split.protocol=random -S split.folds=3 "
        "-S split.validation=0.0', where the test speakers are heard in training."
    )


@pytest.mark.parametrize("share", [0.51, 0.9])
def test_a_random_split_holds_out_what_is_asked_for_or_says_that_it_cannot(share):
    with pytest.raises(SettingError, match=r"split\.validation is 0\.\d+, and split\.protocol 'random' holds out 0\.5"):
        Split(protocol="random", validation=share)


def test_fewer_folds_are_proposed_before_speakers_who_are_heard_in_training():
    with pytest.raises(SettingError) as caught:
        split(even(3, 2, 10), Split(folds=5))
    assert "-S split.folds=3" in str(caught.value)
    assert "protocol" not in str(caught.value)


def test_copies_count_where_the_protocol_splits_them_as_published():
    """One clip a class: the copies alone make folds that can be trained."""
    with pytest.raises(SettingError) as caught:
        split(even(1, 2, 1), Split(protocol="published", folds=10))
    settings = changed(Split(protocol="published", folds=10), str(caught.value))
    assert settings.protocol == "published"
    verify(split(even(1, 2, 1), settings), settings)
