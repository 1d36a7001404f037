"""Names for people's folders: none is pointed anew unasked, whatever is found and whatever params.yaml has."""

import shutil
from itertools import pairwise
from pathlib import Path
from shlex import split

import pytest
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.acquire.search import Place, settle, slug
from pipeline.cli.main import main
from pipeline.core import config
from pipeline.core.errors import SettingError
from pipeline.corpora import checksums
from pipeline.corpora.registry import KNOWN_CORPORA
from tests.paths import ROOT

NAMES = ["mine", "mine_2", "mine_3", "theirs", "tess", "tess_by_emotion"]
FOLDERS = ["/a/mine", "/b/mine", "/c/mine", "/theirs", "/tess", "/mine_2"]


@given(
    st.one_of(
        st.text(), st.text("aZ09 _-.éß語", max_size=80), st.sampled_from([*KNOWN_CORPORA, "True", "null", "nan", "N"])
    )
)
def test_any_folder_gives_a_name_that_works(text):
    name = slug(text)
    config.check_corpus_name(f"{name}_99", "a number behind it")
    assert name not in KNOWN_CORPORA
    assert name not in {"true", "false", "null", "yes", "no", "on", "off", "nan", "inf"}  # words of YAML and Hydra


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Corpus (2024)", "my_corpus_2024"), ("2024", "corpus_2024"), ("Sprachübung", "sprachubung"),
        ("Straße", "strasse"), ("Éléonore", "eleonore"), ("语料", "corpus"), ("", "corpus"),
        ("ravdess", "ravdess_by_emotion"), ("RAVDESS", "ravdess_by_emotion"),
        ("true", "corpus_true"), ("-x", "x"), ("..", "corpus"), ("x" * 300, "x" * 40), ("wav files\n", "wav_files"),
    ],
)  # fmt: skip
def test_a_folder_is_called_what_it_is_called(folder, name):
    assert slug(folder) == name


@st.composite
def situations(draw):
    """What was found, each folder once, and what params.yaml has."""
    folders = draw(st.lists(st.sampled_from(FOLDERS), unique=True, min_size=1))
    known = draw(st.sets(st.sampled_from(["tess", "savee"]), max_size=2))
    found = [Place(name=slug(folder.rsplit("/")[-1]), folder=folder, known=False) for folder in folders]
    found = [Place(name=name, folder=f"/new/{name.upper()}", known=True) for name in sorted(known)] + found
    places = st.sampled_from([*FOLDERS, "/old", "/new/TESS", "/new/SAVEE"])
    taken = draw(st.dictionaries(st.sampled_from([*NAMES, "savee"]), places))
    return found, taken, draw(st.sets(st.sampled_from(sorted(taken)))) if taken else set()


def same(one, other):
    return one.casefold() == other.casefold()


@settings(max_examples=500, deadline=None)
@given(situations(), st.booleans())
def test_no_name_is_pointed_anew_in_silence(situation, replacing):
    found, taken, gone = situation
    named = settle(found, taken, same=same, gone=gone, replacing=replacing)
    assert len({each.name for each in named}) == len(named) == len(found)
    for place, each in zip(found, named, strict=True):
        moved = each.name in taken and not same(taken[each.name], each.folder)
        assert not moved or each.name in gone or (replacing and each.note)
        assert same(each.folder, place.folder) or (place.known and each.folder == taken[each.name] and each.note)
        assert each.name not in KNOWN_CORPORA or place.known
        assert each.name == place.name or each.note or taken[each.name] == place.folder


@settings(max_examples=200, deadline=None)
@given(situations())
def test_what_was_named_keeps_its_name(situation):
    found, taken, gone = situation
    first = settle(found, taken, same=same, gone=gone)
    after = {name: folder for name, folder in taken.items() if name not in gone}
    after |= {each.name: each.folder for each in first}
    again = settle(list(reversed(found)), after, same=same)
    assert {**after, **{each.name: each.folder for each in again}} == after


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A project without corpora of its own, in which we are, and what makes trees on a disk beside it."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(ROOT / "params.yaml", project)
    monkeypatch.chdir(project)

    def tree(*below):
        for where in below:
            path = tmp_path / where / "angry/1.wav"
            path.parent.mkdir(parents=True)
            path.touch()
        return tmp_path

    return tree


def find(*words):
    return CliRunner().invoke(main, ["corpora", "find", *map(str, words)], catch_exceptions=False)


def typed(*words):
    """Do to params.yaml what the printed line does."""
    result = find(*words)
    line = split(result.stdout.partition("\n\n")[2].replace("\\\n", " "))
    apply_overrides(Path("params.yaml"), [word for before, word in pairwise(line) if before == "-S"])
    return result


def written(*words):
    return find(*words, "--write")


def places():
    return config.corpus_folders(config.read_params())


@pytest.mark.parametrize("way", [typed, written])
def test_a_folder_named_by_itself_gives_its_own_name(disk, way):
    base = disk("left", "right")
    way(base / "left")
    way(base / "right")
    assert places() == {"left": str(base / "left"), "right": str(base / "right")}


@pytest.mark.parametrize("way", [typed, written])
def test_folders_of_one_name_are_told_apart_and_keep_their_names(disk, way):
    base = disk("one/mine", "two/mine", "three/Mine")
    way(base / "one")
    said = way(base / "two").stdout
    assert f"{base / 'two/mine'} is called mine_2, for mine is {base / 'one/mine'}." in said
    way(base / "three")
    expected = {"mine": "one/mine", "mine_2": "two/mine", "mine_3": "three/Mine"}
    assert places() == {name: str(base / where) for name, where in expected.items()}
    for _ in range(2):
        way(base)
        assert places() == {name: str(base / where) for name, where in expected.items()}
    assert "has these folders already" in find(base, "--write").stdout


def test_two_of_one_name_in_one_search_are_two(disk):
    base = disk("one/mine", "two/mine")
    written(base)
    assert places() == {"mine": str(base / "one/mine"), "mine_2": str(base / "two/mine")}


def test_a_name_whose_folder_is_gone_is_free_and_that_is_said(disk):
    base = disk("one/mine")
    written(base / "one")
    (base / "one").rename(base / "moved")
    said = written(base / "moved").stdout
    assert f"mine leaves {base / 'one/mine'}, which is not there." in said
    assert places() == {"mine": str(base / "moved/mine")}


def test_a_published_corpus_stays_where_it_is(disk):
    base = disk("mine")
    for where in ("here", "there"):
        for path in checksums.checksum_table("emodb")["path"]:
            (base / where / path).parent.mkdir(parents=True, exist_ok=True)
            (base / where / path).touch()
    written(base / "here")
    before = Path("params.yaml").read_bytes()
    refused = find(base / "there", "--write")
    assert refused.exit_code == 1
    assert f"emodb stays at {base / 'here'}, where params.yaml has it: --replace points it at" in refused.stderr
    assert Path("params.yaml").read_bytes() == before
    (base / "mine").rename(base / "there/mine")
    assert "emodb stays at" in written(base / "there").stdout  # beside what is new
    assert places() == {"emodb": str(base / "here"), "mine": str(base / "there/mine")}
    said = written(base / "there", "--replace").stdout
    assert f"emodb was {base / 'here'} in params.yaml until now." in said
    assert places() == {"emodb": str(base / "there/wav"), "mine": str(base / "there/mine")}


def test_a_name_may_be_chosen(disk):
    base = disk("one/mine", "two/mine")
    written(base / "one", "--name", "ours")
    assert places() == {"ours": str(base / "one/mine")}
    taken = find(base / "two", "--name", "ours", "--write")
    assert taken.exit_code == 1
    assert f"params.yaml has it for {base / 'one/mine'}: choose another name, or add --replace." in taken.stderr
    called = find(base / "one", "--name", "theirs")
    assert f"params.yaml calls {base / 'one/mine'} ours already" in called.stderr
    assert find(base / "two", "--name", "ours", "--replace", "--write").exit_code == 0  # as the sentence says
    assert places() == {"ours": str(base / "two/mine")}


@pytest.mark.parametrize(
    ("where", "name", "sentence"),
    [
        (".", "ours", "names one tree of emotion folders, and 2 are here"),
        ("one", "tess", "--name tess is TESS, read by its file names"),
        ("one", "A b", "--name 'A b' cannot name a corpus: use up to 64 small letters"),
    ],
)
def test_a_name_that_cannot_be_given_is_refused(disk, where, name, sentence):
    base = disk("one/mine", "two/mine")
    before = Path("params.yaml").read_bytes()
    refused = find(base / where, "--name", name, "--write")
    assert refused.exit_code == 1
    assert sentence in refused.stderr
    assert Path("params.yaml").read_bytes() == before


def test_one_folder_by_several_paths_is_one(disk):
    base = disk("mine")
    (base / "link").symlink_to(base / "mine")
    written(base / "mine")
    written(base / "link")
    written(base / "project/../mine")
    assert places() == {"mine": str(base / "mine")}


@pytest.mark.parametrize(
    "folder", ["Sprachübung", "a 'b' \"c\"", "new\nline", "\x1b[31m", "# no", "- x: y", " a ", "1e5"]
)
def test_any_folder_is_written_into_params_yaml_as_it_is(disk, folder):
    base = disk(folder)
    assert written(base / folder).exit_code == 0
    assert list(places().values()) == [str(base / folder)]


@pytest.mark.parametrize("folder", ["a\x85b", "${x}"])
def test_a_folder_that_dvc_would_rename_is_refused_and_nothing_is_written(disk, folder):
    base = disk(folder)
    before = Path("params.yaml").read_bytes()
    for words in ([], ["--write"]):
        refused = find(base / folder, *words)
        assert refused.exit_code == 1
        assert "give the folder another name." in refused.stderr
    assert Path("params.yaml").read_bytes() == before


KEYS = ["a/b", "'a b'", "''", "ä", "1", "true", "null", "a.b", "'-x'", "..", "A", "'a@b'", "2024-01-01", "~", "x" * 65]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("stage", ["ingest", "split", "extract"])
def test_each_stage_refuses_a_key_that_cannot_name_a_corpus(key, stage, disk, monkeypatch):
    """Quietly done otherwise: DVC makes no stage of a key that is a number, and the corpus is not there."""
    import importlib

    disk("mine")
    text = Path("params.yaml").read_text(encoding="utf-8").replace("    tess: ", f"    {key}: ")
    Path("params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.argv", [stage, "ravdess"])
    unfit = r"cannot name a corpus: use up to 64 small letters .*, such as my_corpus\.$"
    with pytest.raises(
        SettingError, match=rf"{unfit}|data\.corpora has the key .*, expected text: put it in quotes\.$"
    ):
        importlib.import_module(f"pipeline.{stage}.stage").main()
    assert not Path("data").exists()
