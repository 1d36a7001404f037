"""Read params.yaml and build checked dataclasses from its sections.

The dataclass of a section lives in the room that uses it; this module knows none of them, because every
stage depends on it and each edit here would train again.
"""

import os
import re
import shlex
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pipeline.core import paths, yaml_reader
from pipeline.core.errors import SettingError, UnknownNameError
from pipeline.core.yaml_reader import dotted
from pipeline.core.yaml_reader import shown as shown  # others have it from here

Section = TypeVar("Section")
PARAMS, PIPELINE = Path("params.yaml"), Path("dvc.yaml")
LARGEST = 2**63 - 1  # of whole numbers: what Parquet, JSON readers and NumPy hold
CORPUS = re.compile(r"[a-z][a-z0-9_]{0,63}")  # a folder, a DVC stage, a metric and a key for -S at once
WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false", "true": "true", "false": "false"}  # of YAML 1.1
NOTHING = {"none", "null", "nil", "nan", "~", ""}


def project() -> Path | None:
    """Find the folder of the project: the nearest with dvc.yaml, from the current folder up; nothing where none is."""
    here = paths.here()
    return next((folder for folder in (here, *here.parents) if os.access(folder / PIPELINE, os.R_OK)), None)


def elsewhere(path: Path = PARAMS) -> str:
    """Say how to get from below the project to its folder, where ``path`` is meant; nothing where that is no remedy."""
    folder = project()
    if path.is_absolute() or folder in (None, Path.cwd()) or not os.access(folder / PARAMS, os.R_OK):
        return ""
    return f"go to the folder of the project first: cd {shlex.quote(str(folder))}"


def read(path: Path = PARAMS) -> dict[str, Any]:
    """Read parameters, see `yamlfile.read`.

    Raises:
        SettingError: the file is missing, cannot be read, is no YAML, or is not a mapping.
    """
    if not os.path.lexists(path) and (remedy := elsewhere(path)):
        raise SettingError(f"{path.resolve()} does not exist: {remedy}")
    values = yaml_reader.read(path)
    if not isinstance(values, dict):
        found = "nothing" if values is None else "a list" if isinstance(values, list) else shown(values)
        raise SettingError(f"{path} holds {found}, expected sections such as 'audio:' and 'train:'.")
    return values


def read_if_any() -> dict[str, Any]:
    """Read parameters where there are any; without them a command goes by its own defaults.

    Raises:
        SettingError: they cannot be read, or the project that has them lies further up.
    """
    return read() if os.path.lexists(PARAMS) or elsewhere() else {}


def get(params: Mapping[str, Any], name: str) -> Any:
    """Look up a dotted name.

    >>> get({"model": {"arch": "cnn"}}, "model.arch")
    'cnn'

    Raises:
        SettingError: the setting, or a section that it is in, is missing.
    """
    value: Any = params
    for end, part in enumerate(parts := name.split(".")):
        where = ".".join(parts[:end])
        if not isinstance(value, Mapping):
            raise SettingError(f"params.yaml: {where} is {shown(value)}, expected a section.")
        if part not in value:
            raise missing(dotted(where, part), value)
        value = value[part]
    return value


def missing(name: str, there: Iterable[str]) -> SettingError:
    """Say that a setting is not there, and which one of those that are may be it by a slip.

    >>> print(missing("model.arch", ["arhc", "features"]))
    params.yaml: model.arch is missing, did you write 'arhc' for it?
    """
    close = get_close_matches(name.rpartition(".")[2], list(there), n=1)
    return SettingError(f"params.yaml: {name} is missing" + (f", did you write {close[0]!r} for it?" if close else "."))


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
        SettingError: it is none that every stage can draw from.
    """
    value = get(params, "seed")
    if not is_seed(value):
        raise SettingError(f"params.yaml: seed is {shown(value)}, expected a whole number from 0 on, up to {LARGEST}.")
    return int(value)


def is_seed(value: Any) -> bool:
    """Say whether every stage can draw from a seed.

    >>> is_seed(20241231235959), is_seed(-1), is_seed(2**63), is_seed(True)
    (True, False, False, False)
    """
    return type(value) is int and 0 <= value <= LARGEST


def text(params: Mapping[str, Any], dotted: str) -> str:
    """Read a setting that is text.

    Raises:
        SettingError: it is something else.
    """
    return str(convert(get(params, dotted), str, dotted))


def corpora(params: Mapping[str, Any]) -> dict[str, str]:
    """Read which corpora there are, and the folder of each.

    Raises:
        SettingError: there are none, one has a name that cannot work, or no folder.
    """
    places = get(params, "data.corpora")
    if not isinstance(places, Mapping) or not places:
        raise SettingError("params.yaml: data.corpora names no corpus: add one as 'ravdess: /path/to/RAVDESS'.")
    for name, place in places.items():
        refuse_corpus_name(name, "params.yaml: data.corpora:")
        if not isinstance(place, str) or not place:
            raise SettingError(
                f"params.yaml: data.corpora.{name} is {shown(place)}, expected the folder of the corpus."
            )
    return dict(places)


def corpus(params: Mapping[str, Any], name: str) -> Path:
    """Read the folder of one corpus.

    Raises:
        UnknownNameError: params.yaml names no such corpus.
    """
    places = corpora(params)
    if name not in places:
        raise UnknownNameError("params.yaml: data.corpora:", name, places)
    return Path(places[name])


def refuse_corpus_name(name: object, where: str) -> None:
    """Refuse what cannot name a corpus in every place where its name is written.

    Args:
        name: a key as YAML reads it, or a word from the command line.
        where: what the sentence begins with.

    Raises:
        SettingError: it cannot; the sentence says what can.
    """
    if not isinstance(name, str) or not CORPUS.fullmatch(name):
        remedy = "use up to 64 small letters from a to z, digits and underscores, a letter first, such as my_corpus"
        raise SettingError(f"{where} {name!r} cannot name a corpus: {remedy}.")


def section(cls: type[Section], params: Mapping[str, Any], name: str) -> Section:
    """Build the dataclass ``cls`` from the section ``name``, refusing keys it lacks and values of another type.

    Raises:
        UnknownNameError: an unknown key, with the nearest known one.
        SettingError: a value of the wrong type or out of range.
    """
    return build(cls, get(params, name), name)


def build(cls: type[Section], values: Any, name: str = "") -> Section:
    """Build ``cls`` from a mapping; nested dataclasses from nested mappings. Without a name it is the whole file."""
    if not isinstance(values, Mapping):
        raise SettingError(f"params.yaml: {name} is {shown(values)}, expected a section.")
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cast("Any", cls))}
    required = {k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    for key in values:
        if key not in known:
            raise UnknownNameError(f"params.yaml: {name}:" if name else "params.yaml:", key, known)
    for key in sorted(required - set(values)):
        raise missing(dotted(name, key), ())
    return cls(**{key: convert(value, hints[key], dotted(name, key)) for key, value in values.items()})


def convert(value: Any, hint: Any, name: str) -> Any:
    """Check ``value`` against a type hint; ints become floats and lists tuples, nothing else is bent."""
    if is_dataclass(hint):
        return build(cast("type[Any]", hint), value, name)
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        found, result = match(value, option)
        if found:
            return result
    held = all(map(is_countable, value if isinstance(value, list | tuple) else [value]))
    reach = "" if held else f", finite and within {LARGEST} if whole"
    remedy = next((f": write {meant}" for option in options if (meant := meaning(value, option))), "")
    raise SettingError(f"params.yaml: {name} is {shown(value)}, expected {describe(hint)}{reach}{remedy}.")


def share(value: Any, name: str) -> float:
    """Read a share.

    >>> share(0, "ingest.max_bad")
    0.0

    Raises:
        SettingError: it is no number from 0 to 1.
    """
    found = float(convert(value, float, name))
    if not 0 <= found <= 1:
        raise SettingError(f"params.yaml: {name} is {shown(value)}, expected a share from 0 to 1.")
    return found


def meaning(value: Any, hint: Any) -> str:
    """Write a value as YAML has it where a person wrote it another way, else nothing.

    >>> meaning("3,0", float), meaning("16_000 ", int), meaning(16000.0, int), meaning("yes", bool), meaning("x", float)
    ('3.0', '16000', '16000', 'true', '')
    """
    if not is_countable(value):
        return ""
    text = str(value).strip()
    if hint is str and isinstance(value, int | float):
        return repr(text)
    if hint is bool and text.casefold() in WORDS:
        return WORDS[text.casefold()]
    if hint in (None, type(None)) and text.casefold() in NOTHING:
        return "null"
    if hint not in (int, float) or isinstance(value, bool):
        return ""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return ""
    return "" if not isfinite(number) else repr(number) if hint is float else f"{number:.0f}" * number.is_integer()


def match(value: Any, hint: Any) -> tuple[bool, Any]:
    """Say whether ``value`` fits a plain hint, and its converted form."""
    if get_origin(hint) is tuple:
        return match_tuple(value, get_args(hint))
    if not is_countable(value):
        return False, value
    if hint is float and type(value) is int:
        return True, float(value)
    kind = type(None) if hint is None else hint
    return type(value) is kind, value


def is_countable(value: Any) -> bool:
    """Say whether a value is a number that others can hold: finite, whole ones of 64 bits; what is no number is.

    >>> [is_countable(value) for value in (2**63 - 1, 2**63, 1e308, float("inf"), float("nan"), "inf")]
    [True, False, True, False, False, True]
    """
    if type(value) is int:
        return abs(value) <= LARGEST
    return not isinstance(value, float) or isfinite(value)


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


def expect(config: object, section: str, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Check the fields of a section, each with whether it holds and what was expected.

    Raises:
        SettingError: the first field that does not hold.
    """
    for name, (holds, expected) in rules.items():
        if not holds:
            raise SettingError(f"params.yaml: {section}.{name} is {getattr(config, name)!r}, expected {expected}.")
