"""Write settings as ``dvc exp run -S`` reads them."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any


def written(value: Any) -> str:
    """Write a value as the override grammar of Hydra has it, which DVC reads.

    >>> written(None), written([0.0, 0.035]), written(["noise", "pitch+noise"]), written("/data/my corpus")
    ('null', '[0.0,0.035]', '[noise,pitch+noise]', "'/data/my corpus'")
    """
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return (
        text if all(letter.isalnum() or letter in "_/.+-" for letter in text) else "'" + text.replace("'", "\\'") + "'"
    )


def pointing(wanted: Mapping[str, str], known: Mapping[str, str], *, drop: Iterable[str]) -> list[str]:
    """Point ``data.corpora`` at folders.

    >>> pointing({"tess": "/t", "mine": "/m"}, {"tess": "demo/TESS", "savee": "demo/SAVEE"}, drop=["savee"])
    ['+data.corpora.mine=/m', 'data.corpora.tess=/t', '~data.corpora.savee']

    Args:
        wanted: the folder of each corpus that is to be read.
        known: ``data.corpora`` as it stands.
        drop: corpora to take out.
    """
    added = [f"+data.corpora.{name}={written(place)}" for name, place in wanted.items() if name not in known]
    moved = [
        f"data.corpora.{name}={written(place)}" for name, place in wanted.items() if known.get(name, place) != place
    ]
    return [*added, *moved, *(f"~data.corpora.{name}" for name in drop)]


def line(changes: Iterable[str], *, name: str = "") -> str:
    """Write the line to type in a shell.

    >>> line(["~data.corpora.savee"], name="mine").split()[-2:]
    ['-S', "'~data.corpora.savee'"]
    """
    head = f"dvc exp run -n {name}" if name else "dvc exp run"
    return " \\\n  ".join([head, *(f"-S {shlex.quote(change)}" for change in changes)])
