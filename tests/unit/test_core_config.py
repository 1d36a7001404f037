import copy
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.core import config, yaml_reader
from pipeline.core.errors import SettingError, UnknownNameError
from tests.paths import ROOT


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
    assert config.read_params(write(tmp_path, "lr: 1e-05\n"))["lr"] == 1e-5


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
    assert config.read_section(Outer, {"outer": values}, "outer") == expected


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
        config.read_section(Outer, {"outer": values}, "outer")


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="outer: 'numbr' is unknown, did you mean 'number'"):
        config.read_section(Outer, {"outer": {"numbr": 1}}, "outer")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a: [1", "not valid YAML"), ("- a\n", "holds a list"), ("", "holds nothing"), ("3,0", "3,0")],
)
def test_what_is_no_parameter_file_is_said(tmp_path, text, sentence):
    with pytest.raises(SettingError, match=sentence):
        config.read_params(write(tmp_path, text))


def test_a_missing_file_names_the_place(tmp_path):
    with pytest.raises(SettingError, match="does not exist: run from the folder"):
        config.read_params(tmp_path / "params.yaml")


def test_a_wrong_path_into_the_parameters_is_said():
    with pytest.raises(SettingError, match=r"^params.yaml: model.arch is missing, did you write 'arhc' for it\?$"):
        config.get_setting({"model": {"arhc": "cnn"}}, "model.arch")
    with pytest.raises(SettingError, match=r"^params.yaml: model is 3, expected a section\.$"):
        config.get_setting({"model": 3}, "model.arch")
    with pytest.raises(UnknownNameError, match=r"^params.yaml: data.corpora: 'tes' is unknown, did you mean 'tess'\?"):
        config.corpus_folder({"data": {"corpora": {"tess": "x"}}}, "tes")


def test_every_section_of_the_project_reads():
    from pipeline.demo.stage import Demo
    from pipeline.ingest.measure import ClipLimits
    from pipeline.parallel import Execute
    from pipeline.signal import extractor
    from pipeline.split.folds import Split
    from pipeline.train.architectures import ARCHITECTURES
    from pipeline.train.settings import Train

    params = config.read_params(ROOT / "params.yaml")
    for cls, name in [
        (Split, "split"),
        (Train, "train"),
        (Execute, "execute"),
        (Demo, "data.demo"),
        (ClipLimits, "ingest"),
    ]:
        config.read_section(cls, params, name)
    for name, arch in ARCHITECTURES.items():
        config.read_section(arch.config, params, f"model.{name}")
    assert extractor.settings_from_params(params).samples == 48_000


@pytest.mark.parametrize("seed", [-1, 1.5, "one", None, True])
def test_a_seed_is_a_whole_number_from_zero_on(seed):
    with pytest.raises(SettingError, match="expected a whole number from 0 on"):
        config.read_seed({"seed": seed})


@pytest.mark.parametrize(
    ("corpora", "sentence"),
    [({}, "names no corpus"), (None, "names no corpus"), ({"ravdess": None}, "ravdess is None, expected the folder")],
)
def test_corpora_without_a_folder_are_refused(corpora, sentence):
    with pytest.raises(SettingError, match=sentence):
        config.corpus_folders({"data": {"corpora": corpora}})
    assert config.corpus_folders({"data": {"corpora": {"a": "/x"}}}) == {"a": "/x"}


SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")
PARAMS = config.read_params(ROOT / "params.yaml")
CODES = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
UNREADABLE = {  # what stands in a file, and what the sentence says after its name
    "binary": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ", line 2, column 1: the byte 0x1a is no text"),
    "a zip": (b"PK\x03\x04\x14", ", line 1, column 3: the byte 0x03 is no text, expected YAML"),
    "latin-1": ("seed: 1\nname: \u00fcber\n".encode("latin-1"), r", line 2, column 7: the byte 0xfc .*'\u00fc'"),
    "a tab": (b"a:\n\tb: 1\n", ", line 2, column 1 is not valid YAML: .*: indent with spaces"),
    "no end": (b"a: [1", ", line 1, column 6 is not valid YAML"),
    "a twin": (
        b"audio:\n  seconds: 3\n  seconds: 4\n",
        ", line 3, column 3: audio.seconds is repeated, .* line 2",
    ),
    "itself": (b"a: &a\n  b: *a\n", ", line 1, column 4: a.b contains itself through an alias"),
    "billions": (
        b"a0: &a0 [1]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)),
        "expands to more than 1,048,576 values",
    ),
    "a number as key": (
        b"data: {corpora: {1: x}}\n",
        ", line 1, column 18: data.corpora has the key '1', expected text",
    ),
    "true as key": (b"true: 1\n", ", line 1, column 1: a section has the key 'true'"),
    "null as key": (b"null: 1\n", ", line 1, column 1: a section has the key 'null'"),
    "a list as key": (b"? [1, 2]\n: x\n", "expected text"),
    "a date": (
        b"data: {corpora: {x: 2024-01-31}}\n",
        ", line 1, column 21: data.corpora.x is '2024-01-31', a date: put it",
    ),
    "no date": (b"a: 2024-13-45\n", "a is '2024-13-45', a date"),
    "an object": (b'a: !!python/object/apply:os.system ["ls"]\n', "the tag !!python/object/apply:os.system"),
    "a tag": (b"!mine\na: 1\n", "the file has the tag !mine"),
    "no number": (b"a: !!int x\n", "a is 'x', which cannot be read as !!int"),
    "no boolean": (b"a: !!bool x\n", "a is 'x', which cannot be read as !!bool"),
    "digits": (b"a: " + b"9" * 5000, r"a is '9{55} \.\.\., which cannot be read"),
    "nan": (b"a: [1, .nan]\n", r", line 1, column 8: a\[1\] is '.nan', expected a finite number"),
    "infinity": (b"a: -.inf\n", "a is '-.inf', expected a finite number"),
    "nan behind a mark": (b"\xef\xbb\xbfa: .nan\n", ", line 1, column 4: a is '.nan'"),
    "too great": (b"a: 1e999\n", "a is '1e999', expected a finite number"),
    "half a letter": (b'a: "\\uD800"\n', r"a contains the invalid character U\+D800"),
    "nothing": (b'a: "x\\0y"\n', r"a contains the invalid character U\+0000"),
    "no letter": (b'a: "\\U00110000"\n', "is not valid YAML"),
    "a bell": (b"a: \x07\n", ", line 1, column 4: the byte 0x07 is no text"),
    "a forbidden letter": ("a: \ufffe\n".encode(), r", line 1, column 4: the character U\+FFFE is not allowed in YAML"),
    "depth": (b"[" * 1_000, "is nested too deep"),
    "deep sections": (b"{a: " * 5_000 + b"1" + b"}" * 5_000, "is nested too deep"),
    "two documents": (b"a: 1\n---\nb: 2\n", ", line 2, column 1 is not valid YAML"),
    "size": (b"a: 1 # " + b"x" * 2**20, "bytes, too many for settings"),
}


def refused(path: Path) -> str:
    """Read what cannot be read; the sentence."""
    with pytest.raises(SettingError) as raised:
        config.read_params(path)
    return one_sentence(raised.value)


def one_sentence(error: SettingError) -> str:
    """The sentence, which names the file once and is one line."""
    said = str(error)
    assert said.splitlines() == [said]
    assert said.endswith((".", "?")), said
    named = said.partition("(iconv")[0].count("params.yaml") - ("run from the folder" in said)
    assert named == 1 or said.startswith("model.features"), said
    assert "params.yaml." not in said.removesuffix("params.yaml."), said
    return said


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_gets_one_sentence_with_its_place(tmp_path, name):
    content, expected = UNREADABLE[name]
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    said = refused(path)
    assert re.search(expected, said), said


@pytest.mark.parametrize("code", [*CODES, "latin-1"])
def test_a_file_in_another_encoding_is_named_and_the_remedy_works(tmp_path, code):
    path = tmp_path / "params.yaml"
    path.write_bytes(f"{SHIPPED}# \u00fc\n".encode(code))
    said = refused(path)
    if code != "latin-1":
        assert f"is written in {code.upper().replace('-LE', 'LE').replace('-BE', 'BE')}, expected UTF-8" in said
    subprocess.run(["bash", "-ec", re.search(r"\((iconv .*)\)", said)[1]], cwd=tmp_path, check=True)
    assert config.read_params(path) == config.read_params(ROOT / "params.yaml")


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b"%YAML 1.2\n---\n"])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
def test_marks_and_ends_of_lines_change_nothing(tmp_path, head, line):
    (tmp_path / "params.yaml").write_bytes(head + SHIPPED.replace("\n", line).encode())
    assert yaml_reader.decode_settings(b"\xef\xbb\xbfa: 1", tmp_path) == "a: 1"
    assert config.read_params(tmp_path / "params.yaml") == config.read_params(ROOT / "params.yaml")


def test_aliases_and_merges_are_read(tmp_path):
    text = "a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n"
    assert config.read_params(write(tmp_path, text)) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}] * 2}


def test_what_is_no_readable_file_gets_a_sentence(tmp_path):
    path = tmp_path / "params.yaml"
    assert f"{path} does not exist: run from the folder that holds params.yaml." == refused(path)
    path.mkdir()
    assert "is a folder, expected a file of settings" in refused(path)
    path.rmdir()
    path.symlink_to("gone")
    assert "is a link to gone, which does not exist" in refused(path)
    path.unlink()
    path.symlink_to(path)
    assert "cannot be read (Too many levels of symbolic links)" in refused(path)
    path.unlink()
    os.mkfifo(path)
    assert "is a pipe or a device" in refused(path)


def test_a_command_does_without_settings_where_there_are_none_but_not_where_they_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.read_params_if_present() == {}
    Path("params.yaml").symlink_to("gone")
    with pytest.raises(SettingError, match="is a link to gone"):
        config.read_params_if_present()


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything")
def test_a_file_without_rights_gets_a_sentence(tmp_path):
    path = write(tmp_path, SHIPPED)
    path.chmod(0)
    script = "import sys, pathlib, pipeline.core.config; pipeline.core.config.read_params(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(path)]
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    done = subprocess.run([*drop, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "params.yaml cannot be read (Permission denied)" in done.stderr.splitlines()[-1]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass"))
    )
)
def test_whatever_stands_in_the_file_it_is_read_or_refused(tmp_path, content):
    try:
        values = config.read_params(write_bytes(tmp_path, content))
    except SettingError as error:
        one_sentence(error)
    else:
        assert list(config.flatten(values)) or not any(values)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(SHIPPED) - 1), put=st.binary(max_size=6), gone=st.integers(0, 30))
def test_a_damaged_file_is_read_or_refused(tmp_path, place, put, gone):
    data = SHIPPED.encode()
    try:
        params = config.read_params(write_bytes(tmp_path, data[:place] + put + data[place + gone :]))
        every_section(params)
    except SettingError as error:
        one_sentence(error)


def write_bytes(folder: Path, content: bytes) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(content)
    return path


def every_section(params):
    """Read what the stages read."""
    from pipeline.demo.stage import Demo
    from pipeline.extract import storage
    from pipeline.ingest.measure import ClipLimits
    from pipeline.parallel import Execute
    from pipeline.signal import extractor
    from pipeline.split.folds import Split
    from pipeline.train import architectures
    from pipeline.train.settings import Train

    sections = {
        "split": Split, "train": Train, "execute": Execute, "data.demo": Demo, "ingest": ClipLimits,
        "store": storage.StorageSettings,
    }  # fmt: skip
    for name, cls in sections.items():
        config.read_section(cls, params, name)
    extractor.settings_from_params(params).view(config.get_setting(params, "model.features"))
    config.read_seed(params)
    config.corpus_folders(params)
    name = config.get_setting(params, "model.arch")
    config.read_section(architectures.find_architecture(name).config, params, f"model.{name}")


ODD = ["3,0", "x", "", [], {}, [1, 2, 3], {"a": 1}, True, None, -1, 10**400, 1e300, "yes", ["x"], [[1]]]


@pytest.mark.parametrize("name", [name for name, _ in config.flatten(PARAMS)])
def test_any_value_of_any_setting_is_taken_or_refused_by_its_name_once(name):
    for value in ODD:
        params = copy.deepcopy(PARAMS)
        *sections, last = name.split(".")
        place = config.get_setting(params, ".".join(sections)) if sections else params
        place[last] = value
        try:
            every_section(params)
        except SettingError as error:
            one_sentence(error)


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (float, "3,0", "audio.seconds is '3,0', expected a number: write 3.0."),
        (float | None, "None", "audio.seconds is 'None', expected a number or null: write null."),
        (int, 16000.0, "audio.seconds is 16000.0, expected a whole number: write 16000."),
        (int, 0.5, "audio.seconds is 0.5, expected a whole number."),
        (bool, "yes", "audio.seconds is 'yes', expected true or false: write true."),
        (str, 7, "audio.seconds is 7, expected text: write '7'."),
        (float, "three", "audio.seconds is 'three', expected a number."),
        (float, "x" * 999, f"audio.seconds is 'x{'x' * 54} ..., expected a number."),
    ],
)
def test_a_value_written_another_way_is_named_once_with_what_to_write(hint, value, said):
    with pytest.raises(SettingError) as raised:
        config.convert_value(value, hint, "audio.seconds")
    assert str(raised.value) == f"params.yaml: {said}"
    if "write" in said:
        meant = YAML(typ="safe").load(said.rpartition("write ")[2][:-1])
        config.convert_value(meant, hint, "audio.seconds")


def test_the_settings_of_features_are_named_once():
    from pipeline.signal import extractor

    params = config.read_params(ROOT / "params.yaml")
    params["audio"]["seconds"] = "3,0"
    with pytest.raises(SettingError, match=r"^params.yaml: audio.seconds is '3,0', expected a number: write 3.0\.$"):
        extractor.settings_from_params(params)
    params["audio"] = 3
    with pytest.raises(SettingError, match=r"^params.yaml: audio is 3, expected a section\.$"):
        extractor.settings_from_params(params)
