"""The ladder: its page and picture say what was measured."""

from benchmarks import ladder, ladder_plot, ladder_table


def rung(name, *, recipe="conv2d_mfcc", arch="conv2d", wa=0.5, svm=0.4):
    spread = {"uar_mean": wa, "uar_sd": 0.04, "wa_mean": wa, "wa_sd": 0.05} if name == "speaker" else {}
    test = {"uar": wa + 0.01, "wa": wa, "rows": 288, "uar_ci95": {"low": wa - 0.1, "high": wa + 0.1}}
    beside = {"chance": {"uar": 0.125, "wa": 0.1333}}
    if arch != "svm":
        beside["svm"] = test | {"uar": svm, "wa": svm}
    return {
        "recipe": recipe,
        "corpora": ["ravdess"],
        "rung": name,
        "arch": arch,
        "classes": 8,
        "folds": {"of": 6 if name == "speaker" else 1, "uar_sd": None, **spread},
        "rows": {"train": 1152, "validation": 288},
        "epochs": [50],
        "test": test,
        "baseline": beside,
        "leak": dict.fromkeys(ladder_table.LEAKS, 1.0 if name == "published" else 0.0),
    }


ROWS = [rung(name, wa=wa) for name, wa in zip(ladder_table.RUNGS, (0.958, 0.56, 0.55, 0.48), strict=True)]


def cells(text, start):
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_line_holds_claim_and_rungs_in_order():
    found = cells(ladder_table.scores(ROWS), "`conv2d_mfcc`")
    wanted = ["96.9", "**95.8** (96.8)", "**56.0** (57.0)", "**55.0** (56.0)", "**48.0** (49.0)"]
    assert found[2:7] == wanted
    assert found[7:] == ["38.0–58.0", "48.0 ± 4.0"]


def test_the_svm_of_the_same_rows_stands_below():
    assert cells(ladder_table.scores(ROWS), "`conv2d_mfcc`: svm")[3] == "**40.0** (40.0)"


def test_an_svm_alone_takes_the_place_of_the_network():
    rows = [rung(name, recipe="conv1d_mfcc", arch="svm", wa=0.9) for name in ladder_table.RUNGS]
    found = ladder_table.lines(rows)
    assert [(line.model, line.claim) for line in found] == [(ladder_table.SVM, None)]
    assert cells(ladder_table.scores(rows), "`conv1d_mfcc`: svm")[3] == "**90.0** (91.0)"


def test_what_was_not_run_is_a_dash():
    assert cells(ladder_table.scores(ROWS[:1]), "`conv2d_mfcc`")[4:] == ["–"] * 5


def test_leaks_are_told_by_rung():
    text = ladder_table.leaks(ROWS)
    assert cells(text, "`conv2d_mfcc` | as published")[2:] == ["100"] * 4
    assert cells(text, "`conv2d_mfcc` | unseen speakers")[2:] == ["0"] * 4


def test_a_rung_takes_the_place_of_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder, "RESULTS", tmp_path / "ladder.json")
    for wa in (0.1, 0.2):
        ladder.keep(rung("random", wa=wa))
    ladder.keep(rung("random", arch="svm", wa=0.3))
    assert [each["test"]["wa"] for each in ladder_table.read(tmp_path / "ladder.json")] == [0.2, 0.3]


def test_the_picture_shows_what_was_run_whole():
    figure = ladder_plot.draw([*ROWS, rung("random", recipe="crnn_mfcc")])
    said = {text.get_text() for text in figure.axes[0].texts}
    assert {"97 %", "96 %", "56 %", "55 %", "48 %  conv2d_mfcc", "13 %  chance"} <= said
    assert not any("crnn_mfcc" in each for each in said)


def test_networks_are_drawn_and_the_svm_only_without_any():
    alone = [rung(name, recipe="conv1d_mfcc", arch="svm", wa=0.45) for name in ladder_table.RUNGS]
    said = {text.get_text() for text in ladder_plot.draw([*ROWS, *alone]).axes[0].texts}
    assert "48 %  conv2d_mfcc" in said
    assert not any("svm" in each for each in said)
    assert "45 %  svm, conv1d_mfcc" in {text.get_text() for text in ladder_plot.draw(alone).axes[0].texts}


def test_a_claim_on_other_corpora_is_no_point_of_the_picture():
    other = [rung(name, recipe="crnn_mfcc", wa=0.3) for name in ladder_table.RUNGS]
    said = {text.get_text() for text in ladder_plot.draw(other).axes[0].texts}
    assert "75 %" not in said
    assert cells(ladder_table.scores(other), "`crnn_mfcc`")[2] == "74.8"


def test_names_at_the_end_lie_apart():
    near = [rung(name, recipe="crnn_mfcc", wa=0.485) for name in ladder_table.RUNGS]
    figure = ladder_plot.draw([*ROWS, *near])
    heights = sorted(text.get_position()[1] for text in figure.axes[0].texts if "mfcc" in text.get_text())
    assert heights[1] - heights[0] >= ladder_plot.APART - 1e-9


def test_the_page_holds_the_tables_of_ladder_json():
    assert ladder_table.markdown(ladder_table.read()) in ladder_table.PAGE.read_text(encoding="utf-8")
