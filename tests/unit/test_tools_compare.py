"""Verdicts by hand, the paired bootstrap written out slowly, and how often it cries wolf."""

import copy
import math
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics

from pipeline.evaluate.metrics import summarize_scores
from pipeline.tools import compare as tools_compare
from pipeline.tools.compare import BETTER, NO_DIFFERENCE, NOT_COMPARABLE, WORSE, compare_runs
from pipeline.tools.runs import Run

CLASSES = ["angry", "calm", "sad"]
LOST = "the predictions of a cannot be read from DVC's cache"


def hall(speakers, clips, corpora=1):
    """So many clips of each speaker, spoken in turn by class; speakers are spread over corpora."""
    rows = [
        (f"{who}-{clip}", 0, f"c{who % corpora}", f"s{who:02}", "", CLASSES[clip % 3])
        for who in range(speakers)
        for clip in range(clips)
    ]
    return pd.DataFrame(rows, columns=["clip_id", "fold", "corpus", "speaker", "sex", "label"])


def told(table, right, rng):
    """Predict the right class where ``right`` says so, else one of the two others."""
    spoken = np.array([CLASSES.index(label) for label in table["label"]])
    return table.assign(predicted=np.array(CLASSES)[np.where(right, spoken, (spoken + rng.integers(1, 3)) % 3)])


def side(name, table, **changes):
    """A revision with these predictions and the scores they make."""
    probabilities = np.eye(3)[[CLASSES.index(label) for label in table["predicted"]]]
    figures = summarize_scores(table.drop(columns="predicted"), probabilities, CLASSES, seed=0)
    return Run(name=name, figures={"protocol": "speaker", "synthetic": {}, **figures, **changes}, rows=table)


def bare(name, uar, low, high):
    """A revision of which only the scores are left."""
    test = {"uar": uar, "uar_ci95": {"low": low, "high": high}, "wa": uar, "clips": 60, "speakers": 6}
    figures = {"protocol": "speaker", "synthetic": {}, "test": test, "corpus": {"own": test}, "class": {"sad": {}}}
    return Run(name=name, figures=figures, lack=LOST)


def pair(speakers=12, clips=24, gain=0.15, seed=1, corpora=1):
    """Speakers who are understood more or less well, by two models of which the second is better by ``gain``."""
    rng = np.random.default_rng(seed)
    table = hall(speakers, clips, corpora)
    luck = np.repeat(rng.uniform(0.3, 0.8, speakers), clips)
    dice = rng.random(len(table))
    return side("a", told(table, dice < luck, rng)), side("b", told(table, dice < luck + gain, rng))


def ends(score):
    return score.low, score.high


# Without predictions


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ((0.70, 0.66, 0.74), BETTER),
        ((0.65, 0.61, 0.69), NO_DIFFERENCE),
        ((0.5, 0.46, 0.54), WORSE),
        ((0.665, 0.625, 0.705), BETTER),  # the half width is 0.0640
        ((0.663, 0.623, 0.703), NO_DIFFERENCE),
    ],
)
def test_two_intervals_by_hand(after, verdict):
    found = compare_runs(bare("a", 0.60, 0.55, 0.65), bare("b", *after))
    error = math.sqrt(((0.65 - 0.55) / (2 * 1.96)) ** 2 + ((after[2] - after[1]) / (2 * 1.96)) ** 2)
    assert found.pooled.difference == pytest.approx(after[0] - 0.6)
    assert ends(found.pooled) == pytest.approx((after[0] - 0.6 - 1.96 * error, after[0] - 0.6 + 1.96 * error), abs=1e-6)
    assert found.pooled.half_width == pytest.approx(0.064031, abs=1e-6)
    assert (found.verdict, found.way, found.corpora["own"]) == (verdict, "unpaired", found.pooled)


def test_without_an_interval_nothing_can_be_shown():
    found = compare_runs(bare("a", 0.2, None, None), bare("b", 0.9, 0.85, 0.95))
    assert (found.verdict, found.pooled.difference, *ends(found.pooled)) == (NO_DIFFERENCE, 0.7, None, None)
    assert list(tools_compare.comparison_lines(found))[-2:] == [
        "no difference that these data can show: b against a, +70.0 points of UAR.",
        "There is no interval: it takes five test speakers or more, and the name of each.",
    ]


# With predictions


def recall(table, rows):
    return metrics.balanced_accuracy_score(table["label"][rows], table["predicted"][rows])


def slow(one, two, repeats):
    """Write out every drawn clip and ask scikit-learn; the ends of the interval by the formula of Hesterberg 2015."""
    names = sorted(set(one["speaker"]))
    n, found = len(names), []
    places = {name: np.flatnonzero(one["speaker"] == name) for name in names}
    for times in np.random.default_rng(tools_compare.SEED).multinomial(n, [1 / n] * n, size=repeats):
        rows = np.concatenate([np.repeat(places[name], t) for name, t in zip(names, times, strict=True)])
        found.append(recall(two, rows) - recall(one, rows))
    end = stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(0.025, n - 1))
    return tuple(np.quantile(found, [end, 1 - end]))


@pytest.mark.parametrize(("speakers", "clips", "gain"), [(5, 6, 0.1), (9, 12, -0.2)])
def test_the_paired_bootstrap_is_its_slow_twin(monkeypatch, speakers, clips, gain):
    monkeypatch.setattr(tools_compare, "REPEATS", 80)
    one, two = pair(speakers, clips, gain)
    found = compare_runs(one, two)
    assert found.way == "paired"
    everything = slice(None)
    assert found.pooled.difference == pytest.approx(
        recall(two.rows, everything) - recall(one.rows, everything), abs=1e-6
    )
    assert ends(found.pooled) == pytest.approx(slow(one.rows, two.rows, 80), abs=1e-6)


def test_speakers_who_gain_all_or_nothing_follow_the_binomial():
    """The first model is always wrong, the second right for 30 of 60 speakers: a draw gains their share in it."""
    table, rng = hall(60, 3), np.random.default_rng(0)
    none, half = np.zeros(180, bool), np.repeat(np.arange(60) % 2 == 0, 3)
    found = compare_runs(side("a", told(table, none, rng)), side("b", told(table, half, rng)))
    error = 2.001 * math.sqrt(0.25 / 59)  # t of 59 degrees of freedom, and 59 because the mean is estimated
    assert ends(found.pooled) == pytest.approx((0.5 - error, 0.5 + error), abs=1 / 60)


def test_pairing_shows_what_the_intervals_hide():
    """Speakers differ by fifty points, the models by ten, for every speaker."""
    one, two = pair(gain=0.1)
    together, apart = compare_runs(one, two), compare_runs(replace(one, lack=LOST), two)
    assert (together.verdict, together.way) == (BETTER, "paired")
    assert (apart.verdict, apart.way, apart.lack) == (NO_DIFFERENCE, "unpaired", LOST)
    assert apart.pooled.half_width > 2 * together.pooled.half_width


@pytest.mark.parametrize("lack", ["", LOST])
def test_swapping_the_two_turns_the_verdict(lack):
    one, two = (replace(each, lack=lack) for each in pair(gain=0.4))
    there, back = compare_runs(one, two), compare_runs(two, one)
    assert (there.verdict, back.verdict) == (BETTER, WORSE)
    assert ends(back.pooled) == pytest.approx((-there.pooled.high, -there.pooled.low), abs=2e-6)
    assert back.pooled.difference == -there.pooled.difference


def test_the_same_predictions_differ_by_nothing():
    one, _ = pair()
    found = compare_runs(one, replace(one, name="b"))
    assert found.verdict == NO_DIFFERENCE
    assert (found.pooled.difference, found.pooled.low, found.pooled.high, found.pooled.half_width) == (0, 0, 0, 0)


def test_neither_the_order_of_the_rows_nor_the_folds_matter():
    one, two = pair()
    mixed = two.rows.sample(frac=1, random_state=3).assign(fold=4)
    assert compare_runs(one, replace(two, rows=mixed)) == compare_runs(one, two)


def test_each_corpus_is_judged_by_its_own_clips():
    one, two = pair(speakers=14, corpora=2, gain=0.0)
    helped = two.rows["predicted"].where(two.rows["corpus"] == "c0", two.rows["label"])
    found = compare_runs(one, side("b", two.rows.assign(predicted=helped)))
    assert {name: score.verdict for name, score in found.corpora.items()} == {"c0": NO_DIFFERENCE, "c1": BETTER}
    assert found.corpora["c0"].low == 0 == found.corpora["c0"].high
    assert found.corpora["c1"].after == 1


HIDDEN = {"few": lambda table: table[table["speaker"] < "s04"], "nameless": lambda table: table.assign(speaker="")}


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_few_or_nameless_speakers_show_nothing(hide):
    one, two = pair(gain=0.4)
    found = compare_runs(side("a", hide(one.rows)), side("b", hide(two.rows)))
    assert (found.verdict, found.way, found.pooled.low) == (NO_DIFFERENCE, "paired", None)
    assert found.pooled.difference > 0.2


def test_predictions_of_another_run_are_left_out():
    one, two = pair(gain=0.1)
    mixed_up = replace(two, rows=one.rows)
    found = compare_runs(one, mixed_up)
    assert found.way == "unpaired"
    assert found.lack == "the predictions of b do not give the UAR of its metrics/details.json"
    assert found.pooled.after == two.figures["test"]["uar"]


@pytest.mark.parametrize("speakers", [6, 12])
def test_of_equal_models_one_in_twenty_is_called_different(monkeypatch, speakers):
    """Speakers differ and each model has its favourites. With six, plain percentiles would err 13 times in 100."""
    monkeypatch.setattr(tools_compare, "REPEATS", 2000)
    rng, table, wrong, turns = np.random.default_rng(speakers), hall(speakers, 12), 0, 300
    for _ in range(turns):
        common = rng.normal(0.6, 0.15, speakers)
        chances = [np.repeat(common + rng.normal(0, 0.08, speakers), 12) for _ in range(2)]
        one, two = (told(table, rng.random(len(table)) < chance, rng) for chance in chances)
        low, high = tools_compare.paired_bootstrap_interval(one, two)
        wrong += not low <= 0 <= high
    assert 0.02 <= wrong / turns <= 0.09  # 0.05, and three standard errors


# What cannot be compared


def other_clips(one):
    return side("b", one.rows.assign(clip_id="x" + one.rows["clip_id"]))


def leaky(one):
    return side("b", one.rows, leak={"contaminated": 0.25})


def other_counts(one, part, name, what):
    figures = copy.deepcopy(dict(one.figures))
    figures[part][name][what] += 1
    return Run(name="b", figures=figures, lack=LOST)


ODD = {"class": {"sad": {}, "fear": {}}}
UNEQUAL = "other test clips by corpus, speaker or class: 288 test clips in a, 288 test clips in b"
REFUSALS = {
    "protocol": (lambda a: side("b", a.rows, protocol="random"), "a has the protocol speaker, b has random"),
    "labels": (
        lambda a: side("b", a.rows, labels={"source": "voice", "soft": None}),
        "a is evaluated on the labels intended, b on voice",
    ),
    "classes": (lambda a: side("b", a.rows, **ODD), "classes of only one: angry, calm, fear"),
    "corpora": (lambda a: side("b", a.rows.assign(corpus="other")), "corpora of only one: c0, other"),
    "speech": (lambda a: side("b", a.rows, synthetic={"c0": True}), "synthetic speech in only one: c0"),
    "clips": (other_clips, "test clips or their labels: 288 rows only in a, 288 only in b"),
    "speakers": (lambda a: other_counts(a, "corpus", "c0", "speakers"), UNEQUAL),
    "supports": (lambda a: other_counts(a, "class", "sad", "support"), UNEQUAL),
    "leak": (leaky, "test rows of b leak from training (25.0\u00a0%)"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_is_not_comparable_is_not_judged(what):
    one, _ = pair()
    change, reason = REFUSALS[what]
    found = compare_runs(one, change(one))
    assert found.faults == [reason]
    assert (found.verdict, found.pooled.difference, found.pooled.low) == (NOT_COMPARABLE, None, None)
    assert found.pooled.before == found.pooled.after == one.figures["test"]["uar"]
    assert list(tools_compare.comparison_lines(found))[-1] == f"not comparable: {reason}."
    assert all(score.verdict == NOT_COMPARABLE for score in found.corpora.values())


def test_what_was_learnt_may_differ_while_the_truth_is_the_same():
    one, two = pair()
    soft = side("b", two.rows, labels={"source": "intended", "soft": "voice"})
    assert compare_runs(one, soft).faults == []


def test_several_reasons_are_all_told():
    one, _ = pair()
    both = compare_runs(side("a", one.rows, leak={"contaminated": 1.0}), side("b", one.rows, protocol="random"))
    assert both.faults == ["a has the protocol speaker, b has random", "test rows of a leak from training (100\u00a0%)"]


def test_two_models_of_the_demo_are_judged_and_stamped():
    marks = {"synthetic": {"c0": True}}
    one, two = pair()
    found = compare_runs(side("a", one.rows, **marks), side("b", two.rows, **marks, stamp="DEMO", transductive=True))
    assert found.verdict == BETTER
    own = "b is standardised by each speaker's own test clips"
    assert found.stamp == f"DEMO: synthetic speech, says nothing about people · DEMO · {own}"
    assert list(tools_compare.comparison_lines(found))[:2] == [found.stamp, ""]


# In words


def test_the_table_and_the_verdict():
    one, two = bare("main", 0.6, 0.55, 0.65), bare("exp-2", 0.7, 0.66, 0.74)
    for each in (one, two):
        each.figures["corpus"]["tess"] = {"uar": 0.5, "uar_ci95": {"low": None, "high": None}}
    assert [line.replace("\u00a0", " ") for line in tools_compare.comparison_lines(compare_runs(one, two))] == [
        "               main   exp-2  difference  95 % interval",
        "UAR, pooled  60.0 %  70.0 %       +10.0  +3.6 to +16.4  better",
        "UAR own      60.0 %  70.0 %       +10.0  +3.6 to +16.4  better",
        "UAR tess     50.0 %  50.0 %         0.0              –  no difference shown",
        "accuracy     60.0 %  70.0 %                             for information",
        "",
        "better: exp-2 against main, +10.0 points of UAR, 95 % interval +3.6 to +16.4.",
        f"Unpaired, from the interval of each, because {LOST} and {LOST}; "
        "6.4 points is about the smallest difference that these data can show.",
    ]


def test_the_paired_way_names_its_speakers():
    assert list(tools_compare.comparison_lines(compare_runs(*pair())))[-1].startswith(
        "Paired bootstrap over 12 speakers; "
    )


@pytest.mark.parametrize(
    ("verdict", "codes"), [(BETTER, (0, 0)), (NO_DIFFERENCE, (0, 1)), (WORSE, (1, 1)), (NOT_COMPARABLE, (2, 2))]
)
def test_how_a_gate_ends(verdict, codes):
    found = replace(compare_runs(*pair()), verdict=verdict)
    assert tuple(tools_compare.comparison_exit_code(found, strict=strict) for strict in (False, True)) == codes


def test_all_figures_are_plain():
    assert asdict(compare_runs(*pair()))["pooled"].keys() == {
        "before", "after", "difference", "low", "high", "half_width", "verdict",
    }  # fmt: skip
