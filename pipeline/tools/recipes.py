"""``recipe``: published systems as YAML files, and the ``dvc exp run`` commands that run them.

A recipe is nothing but settings of params.yaml: no stage knows their names.
"""

import copy
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, Self

from ruamel.yaml import YAML

from pipeline.core import config, paths
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.text import table_lines

BARE_TEXT = re.compile(r"[a-z_/][a-z0-9_/.+-]*", re.IGNORECASE | re.ASCII)  # text that needs no quotes
NOT_TEXT = frozenset({"null", "true", "false", "nan", "inf"})  # unless it would be read as another type
INTERPOLATION = re.compile(r"(\\*)\$\{")  # OmegaConf replaces it by another setting
CHANGED_BY_DVC = {  # characters that do not survive `dvc exp run -S` unchanged
    "${": "replaces by another setting",
    "\x85": "writes as a space",
}


def override_value(value: Any) -> str:
    """Write a value so that DVC reads back the same value of the same type.

    >>> override_value(None), override_value([0.0, 0.035]), override_value(["noise", "pitch+noise"])
    ('null', '[0.0,0.035]', '[noise,pitch+noise]')
    >>> override_value(7), override_value("007"), override_value("/data/my corpus")
    ('7', '"007"', '"/data/my corpus"')
    >>> override_value("/data/Übung")
    '"/data/Übung"'
    """
    if isinstance(value, list | tuple):
        return f"[{','.join(map(override_value, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, int | float) else _quote_text(str(value))


def _quote_text(text: str) -> str:
    """Write text, in double quotes if it could be read as another type; single quotes are left to the shell."""
    from hydra.core.override_parser.types import Quote, QuotedString  # imported late: it takes half a second

    if BARE_TEXT.fullmatch(text) and text.casefold() not in NOT_TEXT:
        return text
    escaped = INTERPOLATION.sub(r"\1\1\\${", text)
    return str(QuotedString(escaped, Quote.double).with_quotes())


def corpora_overrides(wanted: Mapping[str, str], known: Mapping[str, str], *, drop: Iterable[str]) -> list[str]:
    """Write the overrides that set the folders of ``data.corpora``.

    >>> corpora_overrides({"tess": "/t", "mine": "/m"}, {"tess": "demo/TESS", "savee": "demo/SAVEE"}, drop=["savee"])
    ['+data.corpora.mine=/m', 'data.corpora.tess=/t', '~data.corpora.savee']

    Args:
        wanted: the folder of each corpus to use.
        known: the current ``data.corpora``.
        drop: corpora to remove.

    Raises:
        SettingError: DVC would change the name of a folder.
    """
    for folder in wanted.values():
        refuse_folder_name(folder)
    added = [f"+data.corpora.{name}={override_value(folder)}" for name, folder in wanted.items() if name not in known]
    changed = [
        f"data.corpora.{name}={override_value(folder)}"
        for name, folder in wanted.items()
        if known.get(name, folder) != folder
    ]
    return [*added, *changed, *(f"~data.corpora.{name}" for name in drop)]


def refuse_folder_name(folder: str) -> None:
    """Refuse a folder whose name ``dvc exp run -S`` would change."""
    remedy = "give the folder another name."
    for part, effect in CHANGED_BY_DVC.items():
        if part in folder:
            raise SettingError(f"{folder!r} holds {part!r}, which 'dvc exp run -S' {effect}: {remedy}")
    if folder == "???":  # OmegaConf's sign for a missing value
        raise SettingError(f"{folder!r} means a missing value for 'dvc exp run -S': write it as ./{folder}.")
    if folder != folder.encode(errors="replace").decode():
        raise SettingError(f"{folder!r} is no UTF-8 name, which DVC needs: {remedy}")


def experiment_command(changes: Iterable[str], *, name: str = "", encoding: str = "utf-8") -> str:
    """Write the ``dvc exp run`` command for a shell.

    >>> experiment_command(["~data.corpora.savee"], name="mine").split()[-2:]
    ['-S', "'~data.corpora.savee'"]

    Args:
        changes: overrides.
        name: of the experiment.
        encoding: in which the command is printed.
    """
    head = f"dvc exp run -n {name}" if name else "dvc exp run"
    return " \\\n  ".join([head, *(f"-S {paths.shell_quote(change, encoding=encoding)}" for change in changes)])


DEFAULTS = "defaults"  # the values in the shipped params.yaml of settings that only some recipes set
RUNGS: Mapping[str, Mapping[str, Any]] = {  # from the published score to one without leaks
    "published": {"split.protocol": "published", "train.folds": "first"},
    "deduplicated": {"split.protocol": "published", "split.mirrors": 0, "train.folds": "first"},
    "random": {"split.protocol": "random", "train.folds": "first"},
    "speaker": {"split.protocol": "speaker", "train.folds": "all"},
}

PUBLISHED_FOLDS = {  # the published fold set for a single corpus
    "ravdess": "emobox_ravdess",
    "savee": "emobox_savee",
    "tess": "tess_loso",
    "emodb": "emodb_loso",
    "crema_d": "audeering_cremad",
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published system: its claim and its settings."""

    name: str
    title: str
    claim: str
    corpora: tuple[str, ...]
    folds: int | str  # for the rung `speaker`
    note: str  # what was chosen where the publication is silent
    settings: dict[str, Any]  # nested as in params.yaml
    accuracy: float | None = field(default=None)  # as claimed, on its own corpora
    mirrors: int = field(default=1)  # how often its data contain each file

    def settings_for(self, rung: str) -> dict[str, Any]:
        """Return all settings for a rung of the ladder, by dotted name.

        Raises:
            UnknownNameError: there is no such rung.
        """
        if rung not in RUNGS:
            raise UnknownNameError("rung", rung, RUNGS)
        folds = {"split.folds": self.folds if rung == "speaker" else 5}
        return dict(config.flatten(self.settings)) | {"split.mirrors": self.mirrors} | folds | dict(RUNGS[rung])

    def with_corpora(self, corpora: Sequence[str]) -> Self:
        """Return the same system for other corpora, each file once; a single corpus gets its published folds."""
        folds = PUBLISHED_FOLDS.get(corpora[0], 5) if len(corpora) == 1 else 5
        unchanged = set(corpora) == set(self.corpora)
        return self if unchanged else replace(self, corpora=tuple(corpora), folds=folds, mirrors=1)


def recipe_names() -> list[str]:
    files = (file.name for file in resources.files("pipeline.tools").joinpath("published").iterdir())
    return sorted({name.removesuffix(".yaml") for name in files if name.endswith(".yaml")} - {DEFAULTS})


def load_recipe(name: str) -> Recipe:
    """Read a recipe.

    Raises:
        UnknownNameError: there is no such recipe.
    """
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names())
    values = read_recipe_yaml(name)
    return Recipe(name=name, **values | {"corpora": tuple(values["corpora"])})


def read_recipe_yaml(name: str) -> dict[str, Any]:
    """Read the YAML file of a recipe or of the defaults."""
    text = resources.files("pipeline.tools").joinpath("published", f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = YAML(typ="safe").load(text)
    return values


def recipe_overrides(recipe: Recipe, rung: str, params: Mapping[str, Any], folders: Mapping[str, str]) -> list[str]:
    """List the overrides for ``dvc exp run -S``: the settings, and the folders of the recipe's corpora and no others.

    Settings that another recipe left in params.yaml, which ``-S`` changes in place, are reset.

    Args:
        recipe: the system to run.
        rung: of the ladder.
        params: the current params.yaml.
        folders: of the corpora; the others keep theirs.

    Raises:
        UnknownNameError: params.yaml has no such setting, or the recipe no such corpus.
    """
    settings = recipe.settings_for(rung)
    left = {
        name: value
        for name, value in config.flatten(read_recipe_yaml(DEFAULTS))
        if config.get_setting(params, name) != value
    }
    wanted = settings | {name: value for name, value in left.items() if name not in settings}
    for name in wanted:
        config.get_setting(params, name)
    for name in recipe.corpora:
        config.check_corpus_name(name, "--on")
    for name in folders:
        if name not in recipe.corpora:
            remedy = f"To run on {name} instead, add --on {name}."
            raise UnknownNameError(f"recipe {recipe.name}: corpus", name, recipe.corpora, remedy)
    return [
        *_recipe_corpora(recipe, config.corpus_folders(params), folders),
        *(f"{name}={override_value(v)}" for name, v in wanted.items()),
    ]


def _recipe_corpora(recipe: Recipe, known: Mapping[str, str], folders: Mapping[str, str]) -> list[str]:
    """Write the overrides for the corpora of a recipe, and those that remove all others."""
    wanted = {name: folders.get(name) or known.get(name) or f"/data/{name}" for name in recipe.corpora}
    return corpora_overrides(wanted, known, drop=[name for name in known if name not in recipe.corpora])


def recipe_command(recipe: Recipe, rung: str, changes: list[str], *, encoding: str = "utf-8") -> str:
    """Write the command that runs a recipe, in characters that `encoding` has."""
    return experiment_command(changes, name=f"{recipe.name.replace('_', '-')}-{rung}", encoding=encoding)


def recipe_lines() -> list[str]:
    """Describe each recipe in a line."""
    found = [load_recipe(name) for name in recipe_names()]
    return table_lines([(each.name, f"{each.title}; claims {each.claim}") for each in found], "ll")


def describe_recipe(recipe: Recipe) -> list[str]:
    """Describe a recipe in several lines."""
    return [
        f"{recipe.name}: {recipe.title}.",
        f"Claim: {recipe.claim}. Corpora: {', '.join(recipe.corpora)}.",
        *textwrap.wrap(recipe.note, 100),
    ]


def apply_recipe(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a copy of params.yaml with the settings of a recipe, as ``dvc exp run`` would write them."""
    tree = copy.deepcopy(dict(params))
    for setting, value in config.flatten(load_recipe(name).settings):
        *path, last = setting.split(".")
        part = tree
        for key in path:
            part = part[key]
        part[last] = value
    return tree
