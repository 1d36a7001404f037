"""Published fold sets by name, so that scores are comparable with published ones.

EmoBox: Ma et al. (2024), arXiv:2406.07162. Luna-Jiménez et al. (2021), doi:10.3390/s21227665.
audEERING's CREMA-D folds have a fixed development set; all others draw their validation from the training speakers.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.core.errors import SplitError

LOSO = "loso"  # leave one speaker out, for any corpora


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The test and validation speakers of one fold; all others train."""

    test: frozenset[str]
    validation: frozenset[str] | None = None  # None: to be drawn from the training speakers


@dataclass(frozen=True, kw_only=True)
class FoldSet:
    """Published folds of one corpus, in the corpus' own speaker ids."""

    corpus: str
    tests: tuple[tuple[str, ...], ...]  # the test speakers of each fold
    validation: tuple[str, ...] = ()  # fixed development speakers, if any
    others: tuple[str, ...] = ()  # speakers who train in every fold

    @property
    def speakers(self) -> frozenset[str]:
        """All speakers of the set, as ``<corpus>/<id>``."""
        return self.full_ids([*(name for test in self.tests for name in test), *self.validation, *self.others])

    @property
    def folds(self) -> list[Fold]:
        """The folds in published order."""
        fixed = self.full_ids(self.validation) if self.validation else None
        return [Fold(test=self.full_ids(test), validation=fixed) for test in self.tests]

    def full_ids(self, names: Collection[str]) -> frozenset[str]:
        """Prefix speaker ids with the corpus, as in the manifest."""
        return frozenset(f"{self.corpus}/{name}" for name in names)


def _test_groups(*folds: str) -> tuple[tuple[str, ...], ...]:
    """Split the test speakers of each fold, given as one string per fold.

    >>> _test_groups("01 11", "04 10")
    (('01', '11'), ('04', '10'))
    """
    return tuple(tuple(words.split()) for words in folds)


def _one_fold_per_speaker(names: str) -> tuple[tuple[str, ...], ...]:
    """Return one fold per speaker."""
    return _test_groups(*names.split())


CREMA_D_DEV = "1049 1053 1054 1055 1058 1059 1061 1062 1063 1064 1065 1066 1067 1068 1070 1075 1080 1085"
CREMA_D_TEST = "1048 1069 1071 1074 1076 1077 1078 1079 1082 1083 1084 1086 1087 1088 1089 1090 1091"

FOLD_SETS = {
    "emobox_ravdess": FoldSet(
        corpus="ravdess",
        tests=_test_groups("01 11 20 21", "04 10 12 14", "08 09 19 23", "03 05 07 24", "02 15 16 18", "06 13 17 22"),
    ),
    "emobox_savee": FoldSet(corpus="savee", tests=_one_fold_per_speaker("JE KL DC JK")),
    "luna_jimenez_ravdess": FoldSet(
        corpus="ravdess",
        tests=_test_groups("02 05 14 15 16", "03 06 07 13 18", "10 11 12 19 20", "08 17 21 23 24", "01 04 09 22"),
    ),
    "audeering_cremad": FoldSet(
        corpus="crema_d",
        tests=_test_groups(CREMA_D_TEST),
        validation=tuple(CREMA_D_DEV.split()),
        others=tuple(str(n) for n in range(1001, 1092) if str(n) not in f"{CREMA_D_DEV} {CREMA_D_TEST}"),
    ),
    "emodb_loso": FoldSet(corpus="emodb", tests=_one_fold_per_speaker("03 08 09 10 11 12 13 14 15 16")),
    "tess_loso": FoldSet(corpus="tess", tests=_one_fold_per_speaker("OAF YAF")),
}
FOLD_SET_NAMES = (LOSO, *FOLD_SETS)


def named_folds(name: str, speakers: pd.DataFrame, corpora: Collection[str]) -> list[Fold]:
    """Return the folds of a named set for the available speakers.

    Args:
        name: one of ``FOLD_SET_NAMES``.
        speakers: one row per speaker, with the column ``speaker``.
        corpora: the corpora of all clips, including those without named speakers.

    Raises:
        SplitError: there is another corpus, a speaker is not in the set, or a fold has no test speaker.
    """
    present = frozenset(speakers["speaker"])
    if name == LOSO:
        return [Fold(test=frozenset({speaker})) for speaker in sorted(present)]
    fold_set = FOLD_SETS[name]
    _check_corpus(name, fold_set.corpus, corpora)
    _check_speakers(name, present - fold_set.speakers)
    _check_tests(name, fold_set.folds, present)
    return fold_set.folds


def _check_corpus(name: str, corpus: str, corpora: Collection[str]) -> None:
    """Check that the clips come only from the corpus of the set."""
    others = sorted(set(corpora) - {corpus})
    if others:
        held = f"{', '.join(others)} too" if corpus in corpora else f"{', '.join(others)} instead"
        raise SplitError(
            f"split.folds {name!r} places the speakers of {corpus} alone, and the data hold {held}",
            f"list only {corpus} in data.corpora",
        )


def _check_speakers(name: str, unknown: Collection[str]) -> None:
    """Check that there are no speakers outside the set."""
    if unknown:
        raise SplitError(
            f"split.folds {name!r} does not place {_list_speakers(sorted(unknown))}",
            "leave the clips of these speakers out",
        )


def _check_tests(name: str, folds: Sequence[Fold], present: frozenset[str]) -> None:
    """Check that every fold has a test speaker with clips."""
    for number, fold in enumerate(folds):
        if not fold.test & present:
            raise SplitError(
                f"split.folds {name!r}: fold {number} tests {_list_speakers(sorted(fold.test))}, and the data hold "
                "no usable clip of theirs",
                "complete the corpus",
            )


def _list_speakers(names: Sequence[str], most: int = 6) -> str:
    """List the first names and count the rest.

    >>> _list_speakers(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
