"""What a person named for results: only what we wrote there is replaced, and never what is read."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from pipeline.acquire import fetch, survey
from pipeline.cli.main import main
from pipeline.core import files
from pipeline.core.errors import CorpusError, SettingError, StoreError
from pipeline.corpora import folders
from pipeline.dataset import shards
from pipeline.demo import stage
from pipeline.report import figures
from pipeline.tools import feature_files, inspect
from pipeline.train import bundle as train_bundle
from tests.paths import ROOT

NAMES = {"extract": "out.{}", "inspect": "out.png", "verify": "out.csv", "export": "out/onnx", "fetch": "out"}
KINDS = ["extract parquet", "extract npz", "extract csv", "inspect", "verify", "export", "fetch", "part", "licence"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, which is the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "clips").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "clips/a.wav", noise, 16_000)
    (tmp_path / "tess").mkdir()
    shutil.copy(tmp_path / "clips/a.wav", tmp_path / "tess/OAF_back_fear.wav")
    return tmp_path


def target(kind: str) -> Path:
    """Where a kind of command writes."""
    name, _, suffix = kind.partition(" ")
    return {"part": Path("out.part"), "licence": Path("out.licence.txt")}.get(name) or Path(NAMES[name].format(suffix))


def described(kind: str) -> files.Output:
    """The output of a kind of command that needs a bundle."""
    from pipeline.export import command

    return command.output_bundle(target(kind))


def write(kind: str) -> None:
    """Have a command write to its place, or stop."""
    name = kind.partition(" ")[0]
    if name == "export":
        with files.replace_output(described(kind), [Path("source")]) as part:
            bundle(part)
    elif name in ("fetch", "part", "licence"):
        fetch.is_in_place(fetch.make_request("tess", Path("out"), archive=Path("mine.zip")))
    else:
        words = {
            "extract": ["extract", "clips", "-o", f"{target(kind)}"],
            "inspect": ["inspect", "clips/a.wav", "-o", f"{target(kind)}"],
            "verify": ["corpora", "verify", "tess", "tess", "--csv", f"{target(kind)}"],
        }[name]
        done = CliRunner().invoke(main, words)
        if (done.exit_code and name != "verify") or "Error:" in done.output:
            assert "Traceback" not in done.output, done.output
            raise SettingError(done.output.splitlines()[-1])


def bundle(folder: Path, text: str = "weights") -> Path:
    """Write what has the form of a bundle."""
    (folder / "fold-0").mkdir(parents=True)
    (folder / "fold-0/model.onnx").write_text(text)
    values = {"files": train_bundle.file_checksums(folder), "format": 3}
    (folder / train_bundle.CARD_FILE).write_text(json.dumps(values | {"sha256": train_bundle.card_hash(values)}))
    return folder


def state(folder: Path) -> dict[str, str]:
    """All there is below a folder: links as what they say, files as their hash."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "special"
    return found


def user_file(path: Path) -> None:
    """A file of a person, valid where its suffix has a format."""
    frame = pd.DataFrame({"path": ["mine"], "age": [3]})
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".npz":
        np.savez(path, x=np.arange(3))
    elif path.suffix == ".png":
        from matplotlib.figure import Figure

        Figure().savefig(path, format="png")
    else:
        path.write_text("path,age\nmine,3\n")


TAKEN = {  # what a person may have there
    "a file": user_file,
    "a recording": lambda path: shutil.copy("clips/a.wav", path),
    "a folder with a file": lambda path: (path.mkdir(), (path / "thesis.txt").write_text("a year of work")),
    "a folder deep": lambda path: ((path / "a/b").mkdir(parents=True), (path / "a/b/.hidden").write_text("work")),
    "a link to a file": lambda path: (Path("own").write_text("work"), path.symlink_to(Path("own").absolute())),
    "a link to a folder": lambda path: (Path("mine").mkdir(), path.symlink_to(Path("mine").absolute())),
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("kind", KINDS)
def test_what_we_did_not_write_stays_and_a_sentence_says_so(place, kind, taken):
    path = target(kind)
    path.parent.mkdir(exist_ok=True)
    TAKEN[taken](path)
    before = state(place)
    if kind in ("inspect",) and taken in ("a folder with a file", "a folder deep", "a link to a folder"):
        write(kind)  # -o may be a folder of pictures
        assert state(place).items() > before.items()
        return
    with pytest.raises((SettingError, CorpusError)) as raised:
        write(kind)
    assert str(path) in str(raised.value)
    assert str(raised.value).endswith(".")
    assert state(place) == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("fetch", "part", "licence")])
def test_what_we_wrote_is_replaced_and_what_is_empty_too(place, kind):
    path = target(kind)
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if kind == "export" else path.touch()
    write(kind)
    first = state(place)
    write(kind)
    assert state(place) == first
    assert path.stat().st_size
    assert not list(place.rglob("*.tmp"))


@pytest.mark.parametrize("kind", ["extract parquet", "extract npz", "extract csv", "inspect", "verify"])
@pytest.mark.parametrize("spoilt", ["cut", "added", "none of it"])
def test_what_we_wrote_is_known_by_its_content(place, kind, spoilt):
    path = target(kind)
    write(kind)
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "added": data, "none of it": b"\0" * len(data)}[spoilt])
    known = {
        "extract parquet": shards.is_shard,
        "extract npz": feature_files.is_npz,
        "extract csv": feature_files.is_csv,
    }
    if spoilt == "none of it" or (spoilt == "cut" and kind in ("extract parquet", "extract npz")):
        with pytest.raises(SettingError, match="so it stays as it is"):
            write(kind)
        assert path.read_bytes() != data
    else:
        assert known.get(kind, lambda path: True)(path)
        write(kind)
        assert path.read_bytes() == data


@pytest.mark.parametrize("added", ["notes.txt", "fold-0/notes.txt", ".notes", "fold-1/model.onnx"])
def test_a_bundle_with_anything_added_is_not_ours(place, added):
    folder = bundle(Path("out/onnx"))
    assert train_bundle.is_intact_bundle(folder)
    (folder / added).parent.mkdir(exist_ok=True)
    (folder / added).write_text("work")
    with pytest.raises(SettingError, match="out/onnx is there and is not a bundle that this command wrote"):
        write("export")
    assert (folder / added).read_text() == "work"


def test_a_bundle_with_anything_altered_is_not_ours(place):
    folder = bundle(Path("out/onnx"))
    (folder / "fold-0/model.onnx").write_text("mine")
    assert not train_bundle.is_intact_bundle(folder)
    shutil.rmtree(folder)
    bundle(folder)
    (folder / train_bundle.CARD_FILE).write_text((folder / train_bundle.CARD_FILE).read_text().replace("3", "4"))
    assert not train_bundle.is_intact_bundle(folder)
    shutil.rmtree(folder)
    bundle(folder)
    (folder / "fold-0/link").symlink_to("model.onnx")
    assert not train_bundle.is_intact_bundle(folder)
    (folder / "fold-0/link").unlink()
    (folder / ".DS_Store").write_text("of a file manager")
    assert train_bundle.is_intact_bundle(folder)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("mine/onnx", "mine/onnx"),
        ("mine/onnx", "mine/../mine/./onnx"),
        ("mine/onnx", "link/onnx"),
        ("mine/onnx", "mine/onnx/fold-0/onnx"),
        ("mine/onnx/inner", "mine/onnx"),
        ("link/onnx", "mine/onnx"),
    ],
)
def test_a_source_is_never_replaced_whatever_its_name(place, source, wanted):
    """It is a bundle of ours, so that nothing else keeps it."""
    bundle(Path("mine/onnx"))
    Path("link").symlink_to("mine")
    before = state(place)
    output = files.Output(path=Path(wanted), ours=lambda _: True, what="a bundle", folder=True)
    with pytest.raises(SettingError, match="which is read: name another place"):
        files.check_output(output, [Path(source)])
    assert state(place) == before
    files.check_output(
        files.Output(path=Path("mine/litert"), ours=lambda _: False, what="x", folder=True), [Path(source)]
    )


def test_another_name_of_a_source_is_a_source(place):
    Path("a.csv").write_text("x")
    Path("b.csv").hardlink_to("a.csv")
    output = files.Output(path=Path("b.csv"), ours=lambda _: True, what="a table")
    with pytest.raises(SettingError, match="which is read"):
        files.check_output(output, [Path("a.csv")])


def test_the_export_command_asks_before_it_works(place, monkeypatch):
    from pipeline.cli import models

    monkeypatch.setattr(models, "export_samples", lambda *args: pytest.fail("worked"))
    (place / "mine/onnx").mkdir(parents=True)
    (place / "mine/onnx/thesis.txt").write_text("a year of work")
    done = CliRunner().invoke(main, ["export", "--to", "onnx", "-o", "mine", "--model", "mine/x"])
    assert done.exit_code == 1
    assert "Error: mine/onnx is there and is not a bundle" in done.output
    bundle(place / "own/onnx")
    done = CliRunner().invoke(main, ["export", "--to", "onnx", "-o", "own", "--model", "own/onnx"])
    assert "Error: own/onnx would be written over own/onnx, which is read" in done.output


@pytest.mark.parametrize("kind", KINDS[:3])
def test_extract_asks_before_it_works(place, kind, monkeypatch):
    monkeypatch.setattr(feature_files, "extract_rows", lambda *args, **kwargs: pytest.fail("worked"))
    user_file(target(kind))
    with pytest.raises(SettingError, match="so it stays as it is"):
        write(kind)


def test_what_appears_while_the_work_is_done_stays(place):
    output = files.Output(path=Path("out"), ours=train_bundle.is_intact_bundle, what="a bundle", folder=True)
    with pytest.raises(SettingError, match="so it stays as it is"), files.replace_output(output) as part:  # noqa: PT012
        part.mkdir()
        Path("out").mkdir()
        Path("out/thesis.txt").write_text("a year of work")
    assert Path("out/thesis.txt").read_text() == "a year of work"
    assert not list(place.glob("*.tmp"))


def test_a_picture_that_a_person_has_beside_a_clip_stays(place):
    user_file(Path("a.png"))
    before = state(place)
    done = CliRunner().invoke(main, ["inspect", "clips"])
    assert "Error: a.png is there and is not a picture that this command wrote" in done.output
    shutil.copy("clips/a.wav", "b.png")
    done = CliRunner().invoke(main, ["inspect", "b.png"])
    assert "Error: b.png is there and is not a picture that this command wrote" in done.output
    Path("b.png").unlink()
    assert state(place) == before


@pytest.mark.parametrize("where", ["file.wav/x.npz", "gone/deep/x.npz", "link/x.npz"])
def test_a_place_below_what_is_no_folder(place, where):
    Path("file.wav").touch()
    Path("link").symlink_to("nothing")
    output = files.Output(path=Path(where), ours=lambda _: False, what="x")
    if where.startswith("gone"):
        files.check_output(output)
    else:
        with pytest.raises(SettingError, match="is not a folder"):
            files.check_output(output)


def test_disks_and_the_current_folder_are_not_replaced(place):
    always = {"ours": lambda _: True, "what": "x", "folder": True}
    for path in (Path(), place, Path("/"), Path("/proc"), Path("clips/..")):
        with pytest.raises(SettingError):
            files.check_output(files.Output(path=path, **always))


def test_a_name_that_is_too_long_is_refused_before_the_work(place):
    for count in (240, 300):
        with pytest.raises(SettingError, match="too long"):
            files.check_output(files.Output(path=Path("x" * count), ours=lambda _: True, what="x"))
    files.check_output(files.Output(path=Path("x" * 200), ours=lambda _: True, what="x"))


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_closed_folder_is_refused_before_the_work(place):
    Path("closed").mkdir()
    Path("closed").chmod(0o555)
    script = (
        "from pathlib import Path; import pipeline.core.files\n"
        "output = pipeline.core.files.Output(path=Path('closed/deep/x.npz'), ours=lambda _: True, what='x')\n"
        "pipeline.core.files.check_output(output)"
    )
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*drop, sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith("closed: name another place.")


# how one thing takes the place of another


@pytest.mark.parametrize("old", [None, "folder", "file", "link"])
def test_a_folder_takes_the_place_of_anything(tmp_path, old):
    path, part = tmp_path / "path", tmp_path / "part"
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    part.mkdir()
    (part / "new").touch()
    {None: lambda: None, "folder": lambda: shutil.copytree(tmp_path / "kept", path), "file": path.touch,
     "link": lambda: path.symlink_to("kept")}[old]()  # fmt: skip
    files.replace_path(part, path)
    assert sorted(each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*")) == [
        "kept", "kept/file", "path", "path/new",
    ]  # fmt: skip


def test_where_the_new_folder_cannot_be_put_the_old_one_is_back(tmp_path, monkeypatch):
    path, part = tmp_path / "path", tmp_path / "part"
    path.mkdir()
    (path / "old").touch()
    part.mkdir()
    rename = Path.rename

    def refuse(self, other):
        if self == part:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="Input/output"):
        files.replace_path(part, path)
    assert (path / "old").exists()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("step", ["rename", "rmtree"])
def test_a_crash_in_between_leaves_the_old_folder_or_the_new_one(tmp_path, monkeypatch, step):
    """Killed at each step, all bytes of one of them are there, and nothing was deleted before the new one stood."""

    class Killed(BaseException):
        pass

    path, part = tmp_path / "path", tmp_path / "part"
    for folder, text in ((path, "old"), (part, "new")):
        folder.mkdir()
        (folder / "file").write_text(text)
    holder = Path if step == "rename" else shutil
    real = getattr(holder, step)

    def killed(*args, **kwargs):
        if step == "rename" and args[0] != part:
            return real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(holder, step, killed)
    with pytest.raises(Killed):
        files.replace_path(part, path)
    texts = {each.read_text() for each in tmp_path.rglob("file")}
    assert texts == {"old", "new"}
    if step == "rmtree":
        assert (path / "file").read_text() == "new"


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "dangling").symlink_to("gone")
    for name in ("link", "dangling", "nothing", "kept"):
        files.remove_path(tmp_path / name)
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / "kept").exists() == (name != "kept")


def test_what_stands_aside_already_is_written_once(tmp_path):
    with files.atomic_write(tmp_path / "x") as part, files.atomic_write(part) as same:
        assert same == part
        part.write_text("x")
    assert (tmp_path / "x").read_text() == "x"
    with files.atomic_write(tmp_path / "y.tmp") as part:
        assert part != tmp_path / "y.tmp"
        part.touch()


# other places


def test_a_link_to_params_yaml_stays_a_link(tmp_path):
    (tmp_path / "real.yaml").write_text("data:\n  corpora:\n    a: x\n")
    (tmp_path / "params.yaml").symlink_to("real.yaml")
    survey.write_corpora({"b": "y"}, path=tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").is_symlink()
    assert "b: y" in (tmp_path / "real.yaml").read_text()


def test_a_corpus_that_comes_in_by_a_merge_is_not_taken_out_in_silence(tmp_path):
    text = "base: &b {tess: gone}\ndata:\n  corpora:\n    <<: *b\n    savee: s\n"
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(
        SettingError, match=r"data\.corpora\.tess cannot be changed where it comes in by '<<' or an alias"
    ):
        survey.write_corpora({"b": "y"}, drop=["tess"], path=tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == text


def test_a_zip_that_lies_in_the_folder_of_work_is_no_source(place):
    (place / "out.part").mkdir()
    for name in ("lock", "mine.zip"):
        (place / f"out.part/{name}").touch()
    with pytest.raises(SettingError, match=r"mine.zip lies in .*out.part, which is deleted in the end: move it out"):
        fetch.is_in_place(fetch.make_request("tess", Path("out"), archive=Path("out.part/mine.zip")))
    assert not fetch.is_in_place(fetch.make_request("tess", Path("out"), archive=Path("mine.zip")))


def test_a_note_and_a_folder_of_work_of_ours_are_no_hindrance(place):
    (place / "out.part").mkdir()
    (place / "out.part/lock").touch()
    (place / "out.licence.txt").write_text(fetch.licence_note(folders.corpus_info("tess")))
    assert not fetch.is_in_place(fetch.make_request("tess", Path("out"), archive=Path("mine.zip")))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    stage.run(folder, clips=60, seed=1)
    return folder


def test_the_demo_lists_what_it_made(made):
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", stage.CHECKSUM_FILE], cwd=made, check=True)
    listed = {line.split("  ", 1)[1] for line in (made / stage.CHECKSUM_FILE).read_text().splitlines()}
    there = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert there - listed == {stage.CHECKSUM_FILE}


@pytest.mark.parametrize("strange", ["new", "altered", "link", "folder", "no marker"])
def test_the_demo_deletes_nothing_that_a_person_put_there(made, tmp_path, strange):
    folder = Path(shutil.copytree(made, tmp_path / "demo"))
    recording = folder / "RAVDESS/Actor_01/03-01-05-02-02-02-01.wav"
    victim = next(path for path in sorted(folder.rglob("*.wav")) if not path.name.startswith("._"))
    {
        "new": lambda: recording.write_bytes(b"real"),
        "altered": lambda: victim.write_bytes(b"real"),
        "link": lambda: recording.symlink_to("gone"),
        "folder": lambda: shutil.copytree(folder / "TESS", folder / "MINE"),
        "no marker": lambda: (folder / "notes.txt").write_text("mine"),
    }[strange]()
    before = state(folder)
    stage.check_replaceable(made)
    with pytest.raises(CorpusError, match="not made by it: move it away"):
        stage.check_replaceable(folder)
    assert state(folder) == before


def test_dvc_leaves_the_demo_to_its_stage():
    from ruamel.yaml import YAML

    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages["demo"]["outs"] == [{str(stage.DEMO_FOLDER): {"persist": True}}]


def test_pictures_say_whose_they_are(tmp_path):
    from matplotlib.figure import Figure

    figures.save_figure(Figure(), tmp_path / "ours.png")
    assert figures.is_own_figure(tmp_path / "ours.png")
    Figure().savefig(tmp_path / "other.png")
    assert not figures.is_own_figure(tmp_path / "other.png")
    assert inspect.picture_output(tmp_path / "ours.png").ours(tmp_path / "ours.png")


def test_an_error_while_writing_names_the_output(place):
    output = files.Output(path=place / "x.csv", ours=lambda _: True, what="x")
    with (
        pytest.raises(StoreError, match=r"x\.csv could not be written: No space left"),
        files.replace_output(output) as part,
        files.atomic_write(part) as same,
    ):
        raise OSError(errno.ENOSPC, "No space left on device", str(same))
