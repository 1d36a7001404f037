"""``--help`` of every command: it is there, and imports nothing that takes its time to start."""

import json
import subprocess
import sys

import click
import pytest

from pipeline.cli.main import main
from tests.paths import ROOT

HEAVY = {
    *("numpy", "scipy", "pandas", "pyarrow", "matplotlib", "joblib", "numba", "librosa", "soundfile", "sklearn"),
    *("dvc", "fsspec", "keras", "tensorflow", "pooch", "requests", "tqdm", "filelock"),
}
ASK = """
import contextlib, io, json, sys
from pipeline.cli.main import main
heavy, found = set(json.loads(sys.argv[1])), []
for words in json.loads(sys.argv[2]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    found.append([said.getvalue(), sorted(heavy & {name.split(".")[0] for name in sys.modules})])
print(json.dumps(found))
"""


def commands(command: click.Command, *above: str) -> list[tuple[str, ...]]:
    """The words that call a command and each below it."""
    below = command.commands if isinstance(command, click.Group) else {}
    return [above, *(words for name, each in below.items() for words in commands(each, *above, name))]


COMMANDS = commands(main)


@pytest.fixture(scope="module")
def told():
    """What each command says on ``--help``, and what of the heavy is loaded by then, all in one process.

    No stopwatch, which a busy machine would stop too late.
    """
    words = [sys.executable, "-c", ASK, json.dumps(sorted(HEAVY)), json.dumps(COMMANDS)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(zip(COMMANDS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "ser-features")
def test_help_is_there_and_imports_nothing_heavy(told, words):
    said, loaded = told[words]
    assert said.startswith("Usage:")
    assert loaded == []
