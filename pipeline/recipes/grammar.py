"""Write settings as ``dvc exp run -S`` reads them: a shell, then Hydra's grammar of overrides, then OmegaConf."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline import shell
from pipeline.errors import SettingError

BARE = re.compile(r"[a-z_/][a-z0-9_/.+-]*", re.IGNORECASE | re.ASCII)  # text that needs no quotes…
NOT_TEXT = frozenset({"null", "true", "false", "nan", "inf"})  # …but for words that mean something else
INTERPOLATION = re.compile(r"(\\*)\$\{")  # OmegaConf puts another setting there
UNKEPT = {  # what DVC puts into params.yaml otherwise than it was told, or changes there at its next -S
    "${": "takes for another setting",
    "\x85": "writes as a blank",
}


def written(value: Any) -> str:
    """Write a value so that DVC reads the same one, of the same type.

    >>> written(None), written([0.0, 0.035]), written(["noise", "pitch+noise"]), written("/data/my corpus")
    ('null', '[0.0,0.035]', '[noise,pitch+noise]', '"/data/my corpus"')
    >>> written(7), written("007"), written("/data/Übung")
    ('7', '"007"', '"/data/Übung"')
    """
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, int | float) else _text(str(value))


def _text(text: str) -> str:
    """Write text, in quotes where it must not be read as anything else: double ones, for a shell wants the single."""
    from hydra.core.override_parser.types import Quote, QuotedString  # late: it takes half a second

    if BARE.fullmatch(text) and text.casefold() not in NOT_TEXT:
        return text
    plain = INTERPOLATION.sub(r"\1\1\\${", text)
    return str(QuotedString(plain, Quote.double).with_quotes())


def pointing(wanted: Mapping[str, str], known: Mapping[str, str], *, drop: Iterable[str]) -> list[str]:
    """Point ``data.corpora`` at folders.

    >>> pointing({"tess": "/t", "mine": "/m"}, {"tess": "demo/TESS", "savee": "demo/SAVEE"}, drop=["savee"])
    ['+data.corpora.mine=/m', 'data.corpora.tess=/t', '~data.corpora.savee']

    Args:
        wanted: the folder of each corpus that is to be read.
        known: ``data.corpora`` as it stands.
        drop: corpora to take out.

    Raises:
        SettingError: DVC would not keep a folder as it is.
    """
    for place in wanted.values():
        refuse_unkept(place)
    added = [f"+data.corpora.{name}={written(place)}" for name, place in wanted.items() if name not in known]
    moved = [
        f"data.corpora.{name}={written(place)}" for name, place in wanted.items() if known.get(name, place) != place
    ]
    return [*added, *moved, *(f"~data.corpora.{name}" for name in drop)]


def refuse_unkept(place: str) -> None:
    """Refuse a folder whose name does not survive DVC and its params.yaml."""
    remedy = "give the folder another name."
    for part, fate in UNKEPT.items():
        if part in place:
            raise SettingError(f"{place!r} holds {part!r}, which 'dvc exp run -S' {fate}: {remedy}")
    if place == "???":  # OmegaConf's sign for what is still to be set
        raise SettingError(f"{place!r} stands for a missing value with 'dvc exp run -S': write it as ./{place}.")
    if place != place.encode(errors="replace").decode():
        raise SettingError(f"{place!r} is no UTF-8 name, as DVC wants it: {remedy}")


def line(changes: Iterable[str], *, name: str = "", encoding: str = "utf-8") -> str:
    """Write the line to type in a shell.

    >>> line(["~data.corpora.savee"], name="mine").split()[-2:]
    ['-S', "'~data.corpora.savee'"]

    Args:
        changes: overrides.
        name: of the experiment.
        encoding: what the line is printed in.
    """
    head = f"dvc exp run -n {name}" if name else "dvc exp run"
    return " \\\n  ".join([head, *(f"-S {shell.quote(change, encoding=encoding)}" for change in changes)])
