"""Read params.yaml and turn its sections into frozen dataclasses.

The dataclass of a section lives in the room that uses it; this module knows none of them, because every
stage depends on it and each edit here would train again.
"""

import os
import shlex
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import SettingError, UnknownNameError

Section = TypeVar("Section")
PARAMS, PIPELINE = Path("params.yaml"), Path("dvc.yaml")


def project() -> Path | None:
    """Find the folder of the project: the nearest with dvc.yaml, from the current folder up; nothing where none is."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if os.access(folder / PIPELINE, os.R_OK)), None)


def elsewhere(path: Path = PARAMS) -> str:
    """Say how to get from below the project to its folder, where ``path`` is meant; nothing where that is no remedy."""
    folder = project()
    if path.is_absolute() or folder in (None, Path.cwd()) or not os.access(folder / PARAMS, os.R_OK):
        return ""
    return f"go to the folder of the project first: cd {shlex.quote(str(folder))}"


def read(path: Path = PARAMS) -> dict[str, Any]:
    """Read parameters as YAML 1.2, where ``1e-05`` is a number (DVC's ``-S train.lr=1e-5`` writes that).

    Raises:
        SettingError: the file is missing, is no YAML, or is not a mapping.
    """
    try:
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = elsewhere(path) or "run from the folder that holds params.yaml."
        raise SettingError(f"{path.resolve()} does not exist: {remedy}") from None
    except YAMLError as error:
        raise SettingError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SettingError(f"{path} holds {type(values).__name__}, expected sections such as 'audio:' and 'train:'.")
    return values


def read_if_any() -> dict[str, Any]:
    """Read parameters where there are any; without them a command goes by its own defaults.

    Raises:
        SettingError: they cannot be read, or the project that has them lies further up.
    """
    return read() if PARAMS.exists() or elsewhere() else {}


def get(params: Mapping[str, Any], dotted: str) -> Any:
    """Look up a dotted name.

    >>> get({"model": {"arch": "cnn"}}, "model.arch")
    'cnn'

    Raises:
        UnknownNameError: a part of the name is not there.
    """
    value: Any = params
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = value if isinstance(value, Mapping) else ()
            raise UnknownNameError(f"params.yaml: {dotted}:", part, map(str, known))
        value = value[part]
    return value


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give each setting with its dotted name.

    >>> dict(flat({"seed": 42, "audio": {"seconds": 3.0, "trim_db": None}}))
    {'seed': 42, 'audio.seconds': 3.0, 'audio.trim_db': None}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def seed(params: Mapping[str, Any]) -> int:
    """Read the seed.

    Raises:
        SettingError: it is no whole number from 0 on.
    """
    value = get(params, "seed")
    if type(value) is not int or value < 0:
        raise SettingError(f"params.yaml: seed is {value!r}, expected a whole number from 0 on.")
    return value


def corpora(params: Mapping[str, Any]) -> dict[str, str]:
    """Read which corpora there are, and the folder of each.

    Raises:
        SettingError: there are none, or one has no folder.
    """
    places = get(params, "data.corpora")
    if not isinstance(places, Mapping) or not places:
        raise SettingError("params.yaml: data.corpora names no corpus: add one as 'ravdess: /path/to/RAVDESS'.")
    for name, place in places.items():
        if not isinstance(place, str) or not place:
            raise SettingError(f"params.yaml: data.corpora.{name} is {place!r}, expected the folder of the corpus.")
    return dict(places)


def section(cls: type[Section], params: Mapping[str, Any], name: str) -> Section:
    """Build the dataclass ``cls`` from the section ``name``, refusing keys it lacks and values of another type.

    Raises:
        UnknownNameError: an unknown key, with the nearest known one.
        SettingError: a value of the wrong type or out of range.
    """
    return build(cls, get(params, name), name)


def build(cls: type[Section], values: Any, name: str) -> Section:
    """Build ``cls`` from a mapping; nested dataclasses from nested mappings."""
    if not isinstance(values, Mapping):
        raise SettingError(f"params.yaml: {name} is {values!r}, expected a section.")
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cast("Any", cls))}
    for key in values:
        if key not in known:
            raise UnknownNameError(f"params.yaml: {name}:", key, known)
    required = {k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    for key in sorted(required - set(values)):
        raise SettingError(f"params.yaml: {name}.{key} is missing.")
    return cls(**{key: convert(value, hints[key], f"{name}.{key}") for key, value in values.items()})


def convert(value: Any, hint: Any, name: str) -> Any:
    """Check ``value`` against a type hint; ints become floats and lists tuples, nothing else is bent."""
    if is_dataclass(hint):
        return build(cast("type[Any]", hint), value, name)
    for option in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
        found, result = match(value, option)
        if found:
            return result
    raise SettingError(f"params.yaml: {name} is {value!r}, expected {describe(hint)}.")


def match(value: Any, hint: Any) -> tuple[bool, Any]:
    """Say whether ``value`` fits a plain hint, and its converted form."""
    if get_origin(hint) is tuple:
        return match_tuple(value, get_args(hint))
    if hint is float and type(value) is int:
        return True, float(value)
    kind = type(None) if hint is None else hint
    return type(value) is kind, value


def match_tuple(value: Any, parts: tuple[Any, ...]) -> tuple[bool, Any]:
    """Fit a list to ``tuple[X, ...]`` or ``tuple[X, Y]``."""
    if not isinstance(value, list | tuple):
        return False, value
    hints = [parts[0]] * len(value) if parts[1:] == (...,) else list(parts)
    if len(hints) != len(value):
        return False, value
    matched = [match(item, hint) for item, hint in zip(value, hints, strict=True)]
    return all(found for found, _ in matched), tuple(item for _, item in matched)


def describe(hint: Any) -> str:
    """Write a type hint as a user would say it.

    >>> describe(float | None)
    'a number or null'
    """
    words = {float: "a number", int: "a whole number", str: "text", bool: "true or false", type(None): "null"}
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return " or ".join("a list" if get_origin(o) is tuple else words.get(o, str(o)) for o in options)
