"""Read params.yaml and turn its sections into frozen dataclasses.

The dataclass of a section lives in the room that uses it; this module knows none of them, because every
stage depends on it and each edit here would train again.
"""

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import SettingError, UnknownNameError

Section = TypeVar("Section")
PARAMS = Path("params.yaml")
LARGEST = 2**63 - 1  # of whole numbers: what Parquet, JSON readers and NumPy hold


def read(path: Path = PARAMS) -> dict[str, Any]:
    """Read parameters as YAML 1.2, where ``1e-05`` is a number (DVC's ``-S train.lr=1e-5`` writes that).

    Raises:
        SettingError: the file is missing, is no YAML, or is not a mapping.
    """
    try:
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingError(f"{path.resolve()} does not exist: run from the folder that holds params.yaml.") from None
    except YAMLError as error:
        raise SettingError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SettingError(f"{path} holds {type(values).__name__}, expected sections such as 'audio:' and 'train:'.")
    return values


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
        SettingError: there are none, or one has no folder.
    """
    places = get(params, "data.corpora")
    if not isinstance(places, Mapping) or not places:
        raise SettingError("params.yaml: data.corpora names no corpus: add one as 'ravdess: /path/to/RAVDESS'.")
    for name, place in places.items():
        if not isinstance(place, str) or not place:
            raise SettingError(
                f"params.yaml: data.corpora.{name} is {shown(place)}, expected the folder of the corpus."
            )
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
        raise SettingError(f"params.yaml: {name} is {shown(values)}, expected a section.")
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
    held = all(map(is_countable, value if isinstance(value, list | tuple) else [value]))
    reach = "" if held else f", finite and within {LARGEST} if whole"
    raise SettingError(f"params.yaml: {name} is {shown(value)}, expected {describe(hint)}{reach}.")


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


def shown(value: Any) -> str:
    """Write a value for a sentence, cut short where it is long.

    >>> shown("cnn"), shown(10**5000)
    ("'cnn'", 'a number of more than 60 digits')
    """
    if type(value) is int and abs(value) >= 10**60:  # Python refuses to write out what is much longer
        return "a number of more than 60 digits"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


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
    return not isinstance(value, float) or math.isfinite(value)


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
