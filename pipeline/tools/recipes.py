"""``recipe``: the published systems as YAML files, and the ``dvc exp run`` lines that run them.

Nothing in the pipeline knows these names: a recipe is nothing but settings of params.yaml.
"""

import copy
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from pipeline.core import config, paths
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.text_table import table_lines

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


def corpora_override(wanted: Mapping[str, str], known: Mapping[str, str], *, drop: Iterable[str]) -> list[str]:
    """Point ``data.corpora`` at folders.

    >>> corpora_override({"tess": "/t", "mine": "/m"}, {"tess": "demo/TESS", "savee": "demo/SAVEE"}, drop=["savee"])
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


def override_line(changes: Iterable[str], *, name: str = "", encoding: str = "utf-8") -> str:
    """Write the line to type in a shell.

    >>> override_line(["~data.corpora.savee"], name="mine").split()[-2:]
    ['-S', "'~data.corpora.savee'"]

    Args:
        changes: overrides.
        name: of the experiment.
        encoding: what the line is printed in.
    """
    head = f"dvc exp run -n {name}" if name else "dvc exp run"
    return " \\\n  ".join([head, *(f"-S {paths.shell_quote(change, encoding=encoding)}" for change in changes)])


DEFAULTS = "defaults"  # params.yaml as it is shipped: what some recipe sets and another does not
RUNGS: Mapping[str, Mapping[str, Any]] = {  # of the ladder from the famous number to the honest one
    "published": {"split.protocol": "published", "train.folds": "first"},
    "deduplicated": {"split.protocol": "published", "split.mirrors": 0, "train.folds": "first"},
    "random": {"split.protocol": "random", "train.folds": "first"},
    "speaker": {"split.protocol": "speaker", "train.folds": "all"},
}

FOLDS = {  # the fold set of the literature for a corpus alone
    "ravdess": "emobox_ravdess",
    "savee": "emobox_savee",
    "tess": "tess_loso",
    "emodb": "emodb_loso",
    "crema_d": "audeering_cremad",
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published system: what it claims, what it is made of."""

    name: str
    title: str
    claim: str
    corpora: tuple[str, ...]
    folds: int | str  # of speakers, for the honest rung
    note: str  # what was chosen where the publication is silent
    settings: dict[str, Any]  # by their place in params.yaml
    accuracy: float | None = field(default=None)  # of the claim, on its own corpora
    mirrors: int = field(default=1)  # how often its data hold each file

    def on(self, rung: str) -> dict[str, Any]:
        """Give all settings by dotted name for one rung of the ladder.

        Raises:
            UnknownNameError: there is no such rung.
        """
        if rung not in RUNGS:
            raise UnknownNameError("rung", rung, RUNGS)
        folds = {"split.folds": self.folds if rung == "speaker" else 5}
        return dict(config.flat(self.settings)) | {"split.mirrors": self.mirrors} | folds | dict(RUNGS[rung])

    def over(self, corpora: Sequence[str]) -> "Published":
        """Give the same system for other corpora, each file once; one alone has the folds of the literature."""
        folds = FOLDS.get(corpora[0], 5) if len(corpora) == 1 else 5
        same = set(corpora) == set(self.corpora)
        return self if same else replace(self, corpora=tuple(corpora), folds=folds, mirrors=1)


def recipe_names() -> list[str]:
    """Name the recipes there are."""
    files = (file.name for file in resources.files("pipeline.tools").joinpath("published").iterdir())
    return sorted({name.removesuffix(".yaml") for name in files if name.endswith(".yaml")} - {DEFAULTS})


def load_recipe(name: str) -> Published:
    """Read a recipe.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names())
    values = read_recipe(name)
    return Published(name=name, **values | {"corpora": tuple(values["corpora"])})


def read_recipe(name: str) -> dict[str, Any]:
    """Read one of the files."""
    text = resources.files("pipeline.tools").joinpath("published", f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = YAML(typ="safe").load(text)
    return values


def overrides(recipe: Published, rung: str, params: Mapping[str, Any], folders: Mapping[str, str]) -> list[str]:
    """Say what ``dvc exp run -S`` must be told: the settings, the folders of its corpora, and no other corpus.

    What another recipe left behind in params.yaml, which ``-S`` changes in place, is set back.

    Args:
        recipe: what to run.
        rung: of the ladder.
        params: params.yaml as it stands.
        folders: of the corpora, those to set.

    Raises:
        UnknownNameError: params.yaml has no such setting, or the recipe no such corpus.
    """
    asked = recipe.on(rung)
    left = {name: value for name, value in config.flat(read_recipe(DEFAULTS)) if config.get(params, name) != value}
    wanted = asked | {name: value for name, value in left.items() if name not in asked}
    for name in wanted:
        config.get(params, name)
    for name in recipe.corpora:
        config.refuse_corpus_name(name, "--on")
    for name in folders:
        if name not in recipe.corpora:
            remedy = f"To run on {name} instead, add --on {name}."
            raise UnknownNameError(f"recipe {recipe.name}: corpus", name, recipe.corpora, remedy)
    return [
        *corpora(recipe, config.corpora(params), folders),
        *(f"{name}={written(v)}" for name, v in wanted.items()),
    ]


def corpora(recipe: Published, known: Mapping[str, str], folders: Mapping[str, str]) -> list[str]:
    """Point the recipe's corpora at their folders and take the others out."""
    places = {name: folders.get(name) or known.get(name) or f"/data/{name}" for name in recipe.corpora}
    return corpora_override(places, known, drop=[name for name in known if name not in recipe.corpora])


def recipe_command(recipe: Published, rung: str, changes: list[str], *, encoding: str = "utf-8") -> str:
    """Write the line to type, in letters that ``encoding`` has."""
    return override_line(changes, name=f"{recipe.name.replace('_', '-')}-{rung}", encoding=encoding)


def list_recipes() -> list[str]:
    """List the recipes, a line each."""
    found = [load_recipe(name) for name in recipe_names()]
    return table_lines([(each.name, f"{each.title}; claims {each.claim}") for each in found], "ll")


def described(recipe: Published) -> list[str]:
    """Say what a recipe is, in lines."""
    return [
        f"{recipe.name}: {recipe.title}.",
        f"Claim: {recipe.claim}. Corpora: {', '.join(recipe.corpora)}.",
        *textwrap.wrap(recipe.note, 100),
    ]


def laid(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Lay the settings of a recipe over those of params.yaml, as ``dvc exp run`` would; nothing given is changed."""
    tree = copy.deepcopy(dict(params))
    for setting, value in config.flat(load_recipe(name).settings):
        *path, last = setting.split(".")
        part = tree
        for word in path:
            part = part[word]
        part[last] = value
    return tree
