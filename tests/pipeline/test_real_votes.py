"""The tables of the real CREMA-D against what is published of them; SER_CORPORA holds them in crema_d/."""

import csv
from collections import Counter

import pandas as pd
import pytest

from pipeline.core.labels import VOTE_COLUMNS, VOTED_EMOTIONS, Labels
from pipeline.corpora import checksums, crema_d
from pipeline.split import rows, stage

SUMMARY = {"votes_voice": "VoiceVote", "votes_face": "FaceVote", "votes_multimodal": "MultiModalVote"}
CODES = {"A": "ANG", "D": "DIS", "F": "FEA", "H": "HAP", "N": "NEU", "S": "SAD"}


@pytest.fixture(scope="module")
def folder(corpora):
    if not (corpora / "crema_d").is_dir():
        pytest.skip("SER_CORPORA holds no crema_d/")
    return corpora / "crema_d"


@pytest.fixture(scope="module")
def heard(folder):
    path = folder / "tabulatedVotes.csv.xz"
    return crema_d.parse_votes(crema_d.decode_table(path.read_bytes(), path.name), path.name)


def letters(counts):
    """The letters with the most votes, joined as summaryTable.csv does."""
    return ":".join(letter for letter, n in zip(crema_d.VOTE_LETTERS, counts, strict=True) if n == max(counts))


def test_every_published_clip_has_votes_in_all_three_ways(heard):
    published = {
        path.removeprefix("AudioWAV/").removesuffix(".wav") for path in checksums.checksum_table("crema_d")["path"]
    }
    assert set(heard) == published
    assert {tuple(clip) for clip in heard.values()} == {tuple(VOTE_COLUMNS.values())}


@pytest.mark.parametrize(
    ("way", "ratings", "fewest", "most", "intended"),
    [
        ("votes_voice", 68_568, 4, 12, 0.400),
        ("votes_face", 71_654, 6, 12, 0.574),
        ("votes_multimodal", 71_778, 5, 12, 0.631),
    ],
)
def test_as_many_listeners_as_published_heard_what_was_intended(heard, way, ratings, fewest, most, intended):
    sizes = [sum(clip[way]) for clip in heard.values()]
    assert (sum(sizes), min(sizes), max(sizes)) == (ratings, fewest, most)
    code = [list(CODES.values()).index(stem.split("_")[2]) for stem in heard]
    right = sum(clip[way][number] for clip, number in zip(heard.values(), code, strict=True))
    assert right / ratings == pytest.approx(intended, abs=0.0005)


@pytest.mark.parametrize("way", SUMMARY)
def test_majorities_and_ties_are_those_of_the_summary(folder, heard, way):
    with (folder / "summaryTable.csv").open(newline="") as file:
        said = {row["FileName"]: ":".join(sorted(row[SUMMARY[way]].split(":"))) for row in csv.DictReader(file)}
    assert {stem: letters(clip[way]) for stem, clip in heard.items()} == said


def test_majorities_of_the_voice_are_as_counted_elsewhere(heard):
    found = Counter(letters(clip["votes_voice"]) for clip in heard.values())
    ties = sum(count for name, count in found.items() if ":" in name)
    assert {**{name: found[name] for name in crema_d.VOTE_LETTERS}, "tie": ties} == {
        "N": 3_897, "A": 986, "F": 645, "D": 547, "S": 370, "H": 353, "tie": 644,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("way", "ties", "right"), [("voice", 644, 3_099), ("face", 470, 4_931), ("multimodal", 420, 5_374)]
)
def test_a_split_by_listeners_agrees_with_the_actors_as_often_as_published(heard, way, ties, right):
    actors = [crema_d.INFO.emotions[stem.split("_")[2]] for stem in heard]
    clips = pd.DataFrame({"clip_id": list(heard), "corpus": "crema_d", "emotion": actors, "speaker": "x", "sex": ""})
    clips = clips.assign(samples_sha256="", **{name: [clip[name] for clip in heard.values()] for name in SUMMARY})
    labels = Labels(source=way)
    found = rows.resolve_emotions(clips, labels)
    assert ((found == "").sum(), (found == clips["emotion"]).sum()) == (ties, right)
    kept = rows.label_clips(clips, labels)
    assert len(kept) == 7_442 - ties
    assert stage.count_left_out(clips, kept, labels) == {
        "duplicates_across_corpora": 0, "no_votes": 0, "ties": ties, "label_scheme": 0,
    }  # fmt: skip


def test_letters_stand_for_the_emotions_in_their_order():
    assert [crema_d.INFO.emotions[CODES[letter]] for letter in crema_d.VOTE_LETTERS] == list(VOTED_EMOTIONS)


def test_our_list_of_actors_is_the_table(folder):
    path = folder / "VideoDemographics.csv"
    assert crema_d.parse_actors(crema_d.decode_table(path.read_bytes(), path.name), path.name) == dict(
        crema_d.INFO.speakers
    )
