"""``make repro`` and ``make test`` where there is no git repository, on a stand-in for Python that installs nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT

TOOLS = ("bash", "sh", "make", "env", "touch", "chmod", "mkdir", "cp", "cat")
PYTHON = """#!/bin/bash
echo "python $*" >> "$LOG"
case "$*" in
  --version) echo "Python 3.12.0" ;;
  "-m venv"*) mkdir -p .venv/bin; for name in python dvc ser-features; do cp "$0" ".venv/bin/$name"; done ;;
esac
"""
REMEDY = "  git init -q && git add -A && git commit -qm 'As downloaded'"


class Download:
    """The files of the project that make looks at, in a folder, and a PATH with nothing else on it."""

    def __init__(self, base: Path) -> None:
        self.base, self.folder, self.log = base, base / "outer/ser (2)", base / "log"
        self.folder.mkdir(parents=True)
        for name in ("Makefile", "dvc.yaml", "pyproject.toml", "constraints.txt", ".gitignore"):
            shutil.copy(ROOT / name, self.folder)
        tools = base / "bin"
        tools.mkdir()
        for name in (*TOOLS, "git"):
            (tools / name).symlink_to(shutil.which(name) or pytest.skip(f"there is no {name}"))
        (tools / "python3").write_text(PYTHON)
        (tools / "python3").chmod(0o755)
        self.environment = {"PATH": str(tools), "LOG": str(self.log), "HOME": str(base)}
        self.environment |= {"GIT_CEILING_DIRECTORIES": str(base)}

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | more
        return subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def git(self, *words: str, cwd: Path | None = None) -> str:
        people = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        command = ["git", "-C", str(cwd or self.folder), *people, *words]
        everything = self.environment | {"PATH": os.environ["PATH"]}
        done = subprocess.run(command, env=everything, capture_output=True, text=True, check=True)
        return done.stdout

    @property
    def asked(self) -> str:
        """What Python was asked to do."""
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def download(tmp_path):
    return Download(tmp_path)


def refused(download, goal: str) -> str:
    """Run make where it has to stop before it does anything; give what it says."""
    done = download.run("make", goal)
    assert done.returncode == 2
    assert (download.asked, done.stdout) == ("", "")
    assert not (download.folder / ".venv").exists()
    return done.stderr


def served(download, goal: str, **more: str) -> None:
    """Run make where it goes well."""
    done = download.run("make", goal, **more)
    assert done.returncode == 0, done.stderr
    assert ("python repro\npython model show --line\n" if goal == "repro" else "python -m pytest") in download.asked
    assert "-m pip install" in download.asked


@pytest.mark.parametrize("goal", ["repro", "test"])
@pytest.mark.parametrize("state", ["no repository", "a repository around it", "nothing added", "ignored around it"])
def test_without_a_repository_of_its_own_it_is_said_at_once_and_the_remedy_works(download, goal, state):
    outer = download.folder.parent
    if "around" in state:
        download.git("init", "-q", cwd=outer)
        (outer / ".gitignore").write_text("ser*\n" if state.startswith("ignored") else "")
    if state == "nothing added":
        download.git("init", "-q")
    said = refused(download, goal).splitlines()
    assert said[0].startswith("DVC needs a git repository that knows this folder, and a ZIP brings none.")
    assert said[1] == REMEDY
    download.run("bash", "-c", said[1])  # without a name git refuses to commit, which both can do without
    served(download, goal)
    assert not (outer / ".git/index").exists(), "the repository around it is left alone"


def test_parallel_make_installs_nothing_either(download):
    done = download.run("make", "-j8", "repro")
    assert (done.returncode, download.asked) == (2, "")


@pytest.mark.parametrize("goal", ["repro", "test", "test-all"])
def test_without_git_it_is_said_what_to_install(download, goal):
    (download.base / "bin/git").unlink()
    assert refused(download, goal).startswith("git is needed, and there is none on PATH: install it (apt install git,")


@pytest.mark.parametrize("goal", ["help", "clean", "lint"])
def test_what_needs_no_repository_asks_for_none(download, goal):
    for tool in ("rm", "ruff", "mypy"):
        (download.base / "bin" / tool).symlink_to(shutil.which("true"))
    assert download.run("make", goal).returncode == 0


@pytest.mark.parametrize("place", ["top", "below", "worktree", "submodule", "hook"])
def test_a_repository_that_knows_the_folder_will_do(download, place):
    outer = download.folder.parent
    top = download.folder if place in ("top", "submodule") else outer
    download.git("init", "-q", cwd=top)
    download.git("add", "-A", cwd=top)
    download.git("commit", "-qm", "one", cwd=top)
    more = {}
    if place == "worktree":
        download.git("worktree", "add", "-q", str(download.base / "tree"), cwd=top)
        download.folder = download.base / "tree" / download.folder.name
    if place == "submodule":
        download.git("init", "-q", str(download.base / "super"))
        words = ("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(top), "ser")
        download.git(*words, cwd=download.base / "super")
        download.folder = download.base / "super/ser"
    if place == "hook":
        more = {"GIT_DIR": str(outer / ".git"), "GIT_INDEX_FILE": str(outer / ".git/index")}
    served(download, "repro", **more)


def test_the_repository_of_another_user_is_told_from_none(download):
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("only root can give files away")
    download.git("init", "-q")
    download.git("add", "-A")
    subprocess.run(["chown", "-R", "nobody", str(download.folder)], check=True)
    said = refused(download, "repro")
    assert "dubious ownership" in said
    assert f"git config --global --add safe.directory '{download.folder}'" in said
    download.run("git", "config", "--global", "--add", "safe.directory", str(download.folder))
    served(download, "repro")
