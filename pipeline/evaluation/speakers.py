"""Spread speakers over folds and pick those who validate: evenly, by chance, and whatever the order of the rows."""

from collections import Counter

import numpy as np
import pandas as pd

DEALS = 32  # random deals of which the most even one is taken: even folds, and still another cut for another seed
FEWEST = 3  # speakers of a corpus that can give one to validation: one tests, one validates, one trains


def roster(clips: pd.DataFrame) -> pd.DataFrame:
    """List the named speakers: ``speaker corpus sex clips``, sorted by speaker."""
    named = clips[clips["speaker"] != ""]
    parts = {"corpus": ("corpus", "min"), "sex": ("sex", "min"), "clips": ("clip_id", "size")}
    return named.groupby("speaker", as_index=False).agg(**parts)


def stream(seed: int, *words: str | int) -> np.random.Generator:
    """Give each purpose its own random stream, untouched by what else is drawn."""
    return np.random.default_rng([seed, *"/".join(map(str, words)).encode()])


def spread(people: pd.DataFrame, folds: int, *, seed: int) -> list[frozenset[str]]:
    """Cut the speakers of a roster into test groups, one per fold.

    Each corpus is dealt by itself, so its groups do not depend on the corpora beside it; its largest group then goes to
    the fold with the fewest clips so far. No fold is empty as long as there are as many speakers as folds.
    """
    clips = people.set_index("speaker")["clips"].to_dict()
    tests: list[set[str]] = [set() for _ in range(folds)]
    order = stream(seed, "order").permutation(folds)
    for corpus in sorted(set(people["corpus"])):
        hands = most_even(people[people["corpus"] == corpus], folds, rng=stream(seed, corpus))
        hands.sort(key=lambda hand: -sum(clips[name] for name in hand))
        lightest = sorted(order, key=lambda fold: sum(clips[name] for name in tests[fold]))
        for fold, hand in zip(lightest, hands, strict=True):
            tests[fold].update(hand)
    return [frozenset(test) for test in tests]


def most_even(people: pd.DataFrame, folds: int, *, rng: np.random.Generator) -> list[list[str]]:
    """Deal several times and keep the deal whose hands differ least in clips."""
    clips = people.set_index("speaker")["clips"].to_dict()

    def unevenness(hands: list[list[str]]) -> int:
        sums = [sum(int(clips[name]) for name in hand) for hand in hands]
        return max(sums) - min(sums)

    return min((deal(people, folds, rng=rng) for _ in range(DEALS)), key=unevenness)


def deal(people: pd.DataFrame, folds: int, *, rng: np.random.Generator) -> list[list[str]]:
    """Deal shuffled speakers, sex by sex, each to the hand with the fewest speakers, then of the sex, then clips."""
    hands: list[list[str]] = [[] for _ in range(folds)]
    sexes, sums = [Counter[str]() for _ in hands], [0] * folds
    shuffled = people.iloc[rng.permutation(len(people))].sort_values("sex", kind="stable")
    for name, sex, clips in zip(shuffled["speaker"], shuffled["sex"], shuffled["clips"], strict=True):
        hand = min(range(folds), key=lambda h: (len(hands[h]), sexes[h][sex], sums[h]))
        hands[hand].append(name)
        sexes[hand][sex] += 1
        sums[hand] += clips
    return hands


def validators(people: pd.DataFrame, test: frozenset[str], *, share: float, seed: int, fold: int) -> frozenset[str]:
    """Pick the speakers who validate a fold from those who do not test it.

    Every corpus of three or more speakers gives ``share`` of its training speakers, at least one, and keeps at least
    one; smaller corpora give none. With a share of 0 nobody validates.
    """
    chosen: set[str] = set()
    for corpus, group in people.groupby("corpus"):
        rest = group[~group["speaker"].isin(test)]
        if share and len(group) >= FEWEST:
            count = min(max(round(share * len(rest)), 1), len(rest) - 1)
            chosen.update(sample(rest, max(count, 0), rng=stream(seed, fold, str(corpus))))
    return frozenset(chosen)


def sample(people: pd.DataFrame, count: int, *, rng: np.random.Generator) -> list[str]:
    """Draw speakers so that the sexes are drawn in proportion."""
    shuffled = people.iloc[rng.permutation(len(people))]
    sexes = shuffled.groupby("sex")["speaker"]
    turn = (sexes.cumcount() + 0.5) / sexes.transform("size")  # spaces each sex evenly over (0, 1)
    return list(shuffled["speaker"].iloc[np.argsort(turn, kind="stable")[:count]])
