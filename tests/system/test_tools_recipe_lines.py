"""Lines for DVC: what bash, Hydra's grammar, OmegaConf and params.yaml make of them is what was meant."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType, Quote, QuotedString
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from ruamel.yaml import YAML

from pipeline.cli.main import main
from pipeline.core import paths
from pipeline.core.errors import SettingError
from pipeline.tools import recipes
from tests.paths import ROOT

PARSER = OverridesParser.create()
LETTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("\\'\"${}[](),=:#~ \n\t\r?*&|!%@`-+._0123456789eEäß語😀\x7f"),
)
# what other grammars take for numbers, dates, nothing, lists, comments, references, options or quotes
SIGNS = [
    "", " ", " a", "a ", "007", "1e5", "1_000", "0x1", "0o7", ".5", "+5", "-5", "-0", "1.", "nan", "NaN", "inf", "-inf",
    "null", "Null", "none", "~", "true", "TRUE", "yes", "on", "2024-01-01", "12:30:45", "a,b", "[a]", "{a: b}", "a: b",
    "a=b", "# a", "a # b", "&a", "*a", "!a", "|", ">", "- a", "? a", "%a", "@a", "`a`", "<<", "=", "it's", '"a"', "\\",
    "\\\\", "a\\", "\\'", "'\\", '\\"', "$HOME", "$(id)", "`id`", "!!", "a\nb", "\n", "\t", "\r\n", "\x1b[31m",
    "\u2028",
    "\ufeffa", "\u202ea", "\u00a0", "e\u0301", "Sprachübung", "语料", "choice(a,b)", "range(1,3)", "sort(b,a)",
    "a'b\"c", "${seed}", "${x}", "\\${seed}", "\\\\${seed}", "${", "a$", "$${a}", "${oc.env:HOME}", "a" * 300,
    "a b " * 300,
]  # fmt: skip
TEXT = st.one_of(st.sampled_from(SIGNS), st.text(LETTERS, max_size=15), st.text("\\'\"${} ab", max_size=8))


def hydra(word):
    """Read a value as DVC does: the grammar of Hydra, then OmegaConf, which puts settings in for ``${…}``."""
    (override,) = PARSER.parse_overrides([f"+value={word}"])
    assert not override.is_sweep_override()
    return OmegaConf.to_object(OmegaConf.create({"seed": 42, "value": override.value()}))["value"]


@settings(max_examples=400, deadline=None)
@given(TEXT)
def test_any_text_comes_back_from_hydra(text):
    assume(text != "???")
    assert hydra(recipes.override_value(text)) == text


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_text_in_which_no_setting_is_put_comes_back_from_the_parser_alone(text):
    assume("${" not in text)
    assert PARSER.parse_overrides([f"a.b={recipes.override_value(text)}"])[0].value() == text


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT.filter(lambda t: t != "???")
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(PLAIN, st.lists(PLAIN, max_size=4)))
def test_values_come_back_with_their_type(value):
    found = hydra(recipes.override_value(value))
    assert found == value
    assert repr(found) == repr(value)  # 1 == 1.0 == True


def test_not_a_number_comes_back():
    assert math.isnan(hydra(recipes.override_value(math.nan)))


def bash(line, **environment):
    """The words that bash makes of a line for ``dvc``, in a shell that reads nobody's settings."""
    script = "dvc() { printf '%s\\0' \"$@\"; }\n" + line
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], **environment},
    )
    assert not done.stderr
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


WORDS = TEXT.filter(lambda text: "\0" not in text)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@settings(max_examples=60, deadline=None)
@example(["it's\n", "\\'\t", "ü's\\n\x7f9", "", "-n", "a\u00a0b", "'"])
@given(st.lists(WORDS, min_size=1, max_size=8))
def test_bash_reads_words_back_in_whatever_they_are_printed(encoding, words):
    line = " ".join(["dvc", *(paths.shell_quote(word, encoding=encoding) for word in words)])
    assert line.isprintable()
    assert bash(line.encode(encoding).decode(encoding), LC_ALL="C.UTF-8") == words


def test_bytes_that_are_no_text_survive_the_shell():
    name = os.fsdecode(b"/data/Sprach\xfcbung")
    assert bash(f"dvc {paths.shell_quote(name)}") == [name]


def kept(text):
    try:
        recipes.refuse_folder_name(text)
    except SettingError:
        return False
    return True


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS.filter(kept), min_size=1, max_size=4))
def test_folders_come_through_bash_and_dvc_into_params_yaml(tmp_path, places):
    params = tmp_path / "params.yaml"
    params.write_text("seed: 42  # any\ndata:\n  corpora:\n    tess: demo/TESS  # theirs\nmodel:\n  arch: cnn\n")
    wanted = {f"corpus_{number}": place for number, place in enumerate(places)}
    known = {"tess": "demo/TESS"}
    words = bash(recipes.experiment_command(recipes.corpora_overrides(wanted, known, drop=known), name="any"))
    assert words[:4] == ["exp", "run", "-n", "any"]
    assert set(words[4::2]) == {"-S"}
    apply_overrides(params, words[5::2])
    for _ in range(2):
        assert YAML(typ="safe").load(params.read_text(encoding="utf-8"))["data"]["corpora"] == wanted
        apply_overrides(params, ["model.arch=crnn"])  # the next one leaves them alone


@pytest.mark.parametrize("place", ["/data/${seed}", "${x}", "a\x85b", "???"])
def test_what_dvc_would_change_is_refused(place, tmp_path):
    with pytest.raises(SettingError) as refused:
        recipes.corpora_overrides({"mine": place}, {}, drop=[])
    assert repr(place) in str(refused.value)
    params = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    try:  # rightly so
        apply_overrides(params, [f"+data.corpora.mine={QuotedString(place, Quote.single).with_quotes()}"])
    except OmegaConfBaseException:
        return
    assert YAML(typ="safe").load(params.read_text(encoding="utf-8"))["data"]["corpora"]["mine"] != place


def test_a_name_that_dvc_cannot_hash_is_refused():
    with pytest.raises(SettingError, match=r"'/data/\\udcfc' is no UTF-8 name"):
        recipes.corpora_overrides({"mine": os.fsdecode(b"/data/\xfc")}, {}, drop=[])


def test_keys_are_read_as_they_are_meant():
    changes = recipes.corpora_overrides({"tess": "x", "mine": "y"}, {"tess": "z"}, drop=["savee"])
    found = [(each.type, each.key_or_group) for each in PARSER.parse_overrides(changes)]
    assert found == [
        (OverrideType.ADD, "data.corpora.mine"),
        (OverrideType.CHANGE, "data.corpora.tess"),
        (OverrideType.DEL, "data.corpora.savee"),
    ]


FOLDERS = [
    "Sprachübung", "it's mine", 'a "b"', "a, b=c", "[x] {y}", "$HOME & co", "back\\slash", "#1", "语料", "new\nline",
    " blank ", "true", "-n", "~",
]  # fmt: skip
TINY = """stages:
  ingest:
    foreach: ${data.corpora}
    do:
      cmd: echo ${key} > ${key}.txt
      deps:
      - ${item}
      outs:
      - ${key}.txt
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository of DVC with a stage for each corpus, in which we are, and a disk with odd folders."""
    project = tmp_path / "project"
    project.mkdir()
    for name in FOLDERS:
        (tmp_path / "disk" / name / "angry").mkdir(parents=True)
        (tmp_path / "disk" / name / "angry/1.wav").touch()
    monkeypatch.chdir(project)
    shutil.copy(ROOT / "params.yaml", project)
    (project / "dvc.yaml").write_text(TINY)
    identity = "git config user.email a@example.org && git config user.name a"
    begin = f"git init -q . && {identity} && dvc init -q && git add -A && git commit -qm begin"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    subprocess.run(["bash", "-c", begin], check=True)
    return project


def test_dvc_runs_the_line_that_find_prints(project):
    printed = CliRunner().invoke(main, ["corpora", "find", "../disk"]).stdout.partition("\n\n")[2]
    done = subprocess.run(["bash", "-c", printed], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["data"]["corpora"]
    assert sorted(found.values()) == sorted(str(project.parent / "disk" / name) for name in FOLDERS)
    assert {path.stem for path in Path().glob("*.txt")} == set(found)
    again = CliRunner().invoke(main, ["corpora", "find", "../disk"])
    assert again.stdout.splitlines()[-1] == "dvc exp run"  # all of them keep their names


def test_the_line_runs_where_standard_output_has_no_such_letters(project):
    command = [sys.executable, "-c", "from pipeline.cli.main import main; main()", "corpora", "find", "../disk"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    words = bash(printed.partition(b"\n\n")[2].decode("ascii"))
    apply_overrides(Path("params.yaml"), [word for word in words if word not in {"exp", "run", "-S"}])
    found = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["data"]["corpora"]
    assert sorted(found.values()) == sorted(str(project.parent / "disk" / name) for name in FOLDERS)
