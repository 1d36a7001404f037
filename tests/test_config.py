from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import config
from pipeline.errors import SettingError, UnknownNameError

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Outer:
    number: int
    strength: float | tuple[float, float] | None = None
    names: tuple[str, ...] = ()
    on: bool = True
    inner: Inner = Inner()


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_scientific_notation_is_a_number(tmp_path):
    """DVC's -S train.lr=1e-5 writes 1e-05, which YAML 1.1 reads as text."""
    assert config.read(write(tmp_path, "lr: 1e-05\n"))["lr"] == 1e-5


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"number": 3}, Outer(number=3)),
        ({"number": 3, "strength": 2}, Outer(number=3, strength=2.0)),
        ({"number": 3, "strength": [1, 2.5]}, Outer(number=3, strength=(1.0, 2.5))),
        ({"number": 3, "names": ["a", "b", "c"]}, Outer(number=3, names=("a", "b", "c"))),
        ({"number": 3, "inner": {"rate": 2}, "on": False}, Outer(number=3, on=False, inner=Inner(rate=2.0))),
    ],
)
def test_values_are_converted(values, expected):
    assert config.section(Outer, {"outer": values}, "outer") == expected


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "outer.number is missing"),
        ({"number": "3"}, "outer.number is '3', expected a whole number"),
        ({"number": 3.5}, "outer.number is 3.5"),
        ({"number": True}, "outer.number is True"),
        ({"number": 1, "on": 1}, "outer.on is 1, expected true or false"),
        ({"number": 1, "strength": [1.0]}, r"outer.strength is \[1.0\], expected a number or a list or null"),
        ({"number": 1, "inner": 3}, "outer.inner is 3, expected a section"),
        ({"number": 1, "inner": {"rat": 3}}, "outer.inner: 'rat' is unknown, did you mean 'rate'"),
    ],
)
def test_wrong_values_are_refused_by_name(values, sentence):
    with pytest.raises(SettingError, match=sentence):
        config.section(Outer, {"outer": values}, "outer")


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="outer: 'numbr' is unknown, did you mean 'number'"):
        config.section(Outer, {"outer": {"numbr": 1}}, "outer")


@pytest.mark.parametrize(("text", "sentence"), [("a: [1", "not valid YAML"), ("- a\n", "holds list"), ("", "NoneType")])
def test_what_is_no_parameter_file_is_said(tmp_path, text, sentence):
    with pytest.raises(SettingError, match=sentence):
        config.read(write(tmp_path, text))


def test_a_missing_file_names_the_place(tmp_path):
    with pytest.raises(SettingError, match="does not exist: run from the folder"):
        config.read(tmp_path / "params.yaml")


def test_a_wrong_path_into_the_parameters_is_said():
    with pytest.raises(UnknownNameError, match="model.arhc"):
        config.get({"model": {"arch": "cnn"}}, "model.arhc")


def test_every_section_of_the_project_reads():
    from pipeline.evaluation.folds import Split
    from pipeline.networks.registry import ARCHS
    from pipeline.networks.settings import Train
    from pipeline.stages.crew import Execute
    from pipeline.stages.demo import Demo
    from pipeline.store import recipe
    from pipeline.store.facts import Limits

    params = config.read(ROOT / "params.yaml")
    for cls, name in [
        (Split, "split"),
        (Train, "train"),
        (Execute, "execute"),
        (Demo, "data.demo"),
        (Limits, "ingest"),
    ]:
        config.section(cls, params, name)
    for name, arch in ARCHS.items():
        config.section(arch.config, params, f"model.{name}")
    assert recipe.from_params(params).samples == 48_000


@pytest.mark.parametrize("seed", [-1, 1.5, "one", None, True])
def test_a_seed_is_a_whole_number_from_zero_on(seed):
    with pytest.raises(SettingError, match="expected a whole number from 0 on"):
        config.seed({"seed": seed})


@pytest.mark.parametrize(
    ("corpora", "sentence"),
    [({}, "names no corpus"), (None, "names no corpus"), ({"ravdess": None}, "ravdess is None, expected the folder")],
)
def test_corpora_without_a_folder_are_refused(corpora, sentence):
    with pytest.raises(SettingError, match=sentence):
        config.corpora({"data": {"corpora": corpora}})
    assert config.corpora({"data": {"corpora": {"a": "/x"}}}) == {"a": "/x"}
