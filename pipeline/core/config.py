"""Read params.yaml and build checked dataclasses from its sections.

Each section's dataclass is defined in the folder that uses it. This module imports none of them: every stage depends
on it, so an edit here reruns all of them.
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
from pipeline.core.yaml_reader import join_keys

Section = TypeVar("Section")
PARAMS, PIPELINE = Path("params.yaml"), Path("dvc.yaml")
LARGEST_INTEGER = 2**63 - 1  # the largest whole number that Parquet, JSON readers and NumPy can store
CORPUS_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # valid as a folder, a DVC stage, a metric and a key for -S
short_repr = yaml_reader.short_repr
BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false", "true": "true", "false": "false"}  # YAML 1.1
NULLS = {"none", "null", "nil", "nan", "~", ""}


def project_folder() -> Path | None:
    """Find the nearest folder with a dvc.yaml, from the current folder upwards; None if there is none."""
    here = paths.current_folder()
    return next((folder for folder in (here, *here.parents) if os.access(folder / PIPELINE, os.R_OK)), None)


def project_folder_hint(path: Path = PARAMS) -> str:
    """Return the ``cd`` command from a subfolder to the project if ``path`` is expected there; otherwise ``""``."""
    folder = project_folder()
    if path.is_absolute() or folder in (None, Path.cwd()) or not os.access(folder / PARAMS, os.R_OK):
        return ""
    return f"go to the folder of the project first: cd {shlex.quote(str(folder))}"


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read the parameters, see `yaml_reader.read_yaml`.

    Raises:
        SettingError: the file is missing, cannot be read, is not YAML, or is not a mapping.
    """
    if not os.path.lexists(path) and (remedy := project_folder_hint(path)):
        raise SettingError(f"{path.resolve()} does not exist: {remedy}")
    values = yaml_reader.read_yaml(path)
    if not isinstance(values, dict):
        found = "nothing" if values is None else "a list" if isinstance(values, list) else short_repr(values)
        raise SettingError(f"{path} holds {found}, expected sections such as 'audio:' and 'train:'.")
    return values


def read_params_if_present() -> dict[str, Any]:
    """Read the parameters if the file exists; otherwise return an empty mapping, so that defaults apply.

    Raises:
        SettingError: the file cannot be read, or the project folder is further up.
    """
    return read_params() if os.path.lexists(PARAMS) or project_folder_hint() else {}


def get_setting(params: Mapping[str, Any], name: str) -> Any:
    """Look up a dotted name.

    >>> get_setting({"model": {"arch": "cnn"}}, "model.arch")
    'cnn'

    Raises:
        SettingError: the setting, or a section that contains it, is missing.
    """
    value: Any = params
    for end, part in enumerate(parts := name.split(".")):
        where = ".".join(parts[:end])
        if not isinstance(value, Mapping):
            raise SettingError(f"params.yaml: {where} is {short_repr(value)}, expected a section.")
        if part not in value:
            raise _missing_setting_error(join_keys(where, part), value)
        value = value[part]
    return value


def _missing_setting_error(name: str, present: Iterable[str]) -> SettingError:
    """Report a missing setting, suggesting the most similar of those ``present``.

    >>> print(_missing_setting_error("model.arch", ["arhc", "features"]))
    params.yaml: model.arch is missing, did you write 'arhc' for it?
    """
    close = get_close_matches(name.rpartition(".")[2], list(present), n=1)
    return SettingError(f"params.yaml: {name} is missing" + (f", did you write {close[0]!r} for it?" if close else "."))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting with its dotted name.

    >>> dict(flatten({"seed": 42, "audio": {"seconds": 3.0, "trim_db": None}}))
    {'seed': 42, 'audio.seconds': 3.0, 'audio.trim_db': None}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read_seed(params: Mapping[str, Any]) -> int:
    """Read the seed.

    Raises:
        SettingError: it is not a valid seed for every stage.
    """
    value = get_setting(params, "seed")
    if not is_valid_seed(value):
        raise SettingError(
            f"params.yaml: seed is {short_repr(value)}, expected a whole number from 0 on, up to {LARGEST_INTEGER}."
        )
    return int(value)


def is_valid_seed(value: Any) -> bool:
    """Check whether every random generator accepts a value as its seed.

    >>> is_valid_seed(20241231235959), is_valid_seed(-1), is_valid_seed(2**63), is_valid_seed(True)
    (True, False, False, False)
    """
    return type(value) is int and 0 <= value <= LARGEST_INTEGER


def read_text_setting(params: Mapping[str, Any], name: str) -> str:
    """Read a text setting by its dotted name.

    Raises:
        SettingError: it is not text.
    """
    return str(convert_value(get_setting(params, name), str, name))


def corpus_folders(params: Mapping[str, Any]) -> dict[str, str]:
    """Read the folder of each corpus.

    Raises:
        SettingError: there are no corpora, a name is invalid, or a folder is missing.
    """
    folders = get_setting(params, "data.corpora")
    if not isinstance(folders, Mapping) or not folders:
        raise SettingError("params.yaml: data.corpora names no corpus: add one as 'ravdess: /path/to/RAVDESS'.")
    for name, folder in folders.items():
        check_corpus_name(name, "params.yaml: data.corpora:")
        if not isinstance(folder, str) or not folder:
            raise SettingError(
                f"params.yaml: data.corpora.{name} is {short_repr(folder)}, expected the folder of the corpus."
            )
    return dict(folders)


def corpus_folder(params: Mapping[str, Any], name: str) -> Path:
    """Read the folder of one corpus.

    Raises:
        UnknownNameError: params.yaml names no such corpus.
    """
    folders = corpus_folders(params)
    if name not in folders:
        raise UnknownNameError("params.yaml: data.corpora:", name, folders)
    return Path(folders[name])


def check_corpus_name(name: object, where: str) -> None:
    """Check that a name is valid wherever a corpus is named: as a folder, a DVC stage, a metric and a key.

    Args:
        name: a key as YAML reads it, or a word from the command line.
        where: the beginning of the message.

    Raises:
        SettingError: the name is invalid.
    """
    if not isinstance(name, str) or not CORPUS_NAME.fullmatch(name):
        remedy = "use up to 64 small letters from a to z, digits and underscores, a letter first, such as my_corpus"
        raise SettingError(f"{where} {name!r} cannot name a corpus: {remedy}.")


def read_section(cls: type[Section], params: Mapping[str, Any], name: str) -> Section:
    """Build the dataclass ``cls`` from the section ``name``, rejecting unknown keys and values of another type.

    Raises:
        UnknownNameError: a key is unknown.
        SettingError: a value has the wrong type or is out of range.
    """
    return build_dataclass(cls, get_setting(params, name), name)


def build_dataclass(cls: type[Section], values: Any, name: str = "") -> Section:
    """Build ``cls`` from a mapping; nested dataclasses from nested mappings. An empty ``name`` means the whole file."""
    if not isinstance(values, Mapping):
        raise SettingError(f"params.yaml: {name} is {short_repr(values)}, expected a section.")
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cast("Any", cls))}
    required = {k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    for key in values:
        if key not in known:
            raise UnknownNameError(f"params.yaml: {name}:" if name else "params.yaml:", key, known)
    for key in sorted(required - set(values)):
        raise _missing_setting_error(join_keys(name, key), ())
    return cls(**{key: convert_value(value, hints[key], join_keys(name, key)) for key, value in values.items()})


def convert_value(value: Any, hint: Any, name: str) -> Any:
    """Check ``value`` against a type hint; only ints are converted to floats and lists to tuples."""
    if is_dataclass(hint):
        return build_dataclass(cast("type[Any]", hint), value, name)
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        found, result = _match_type(value, option)
        if found:
            return result
    representable = all(map(_is_representable, value if isinstance(value, list | tuple) else [value]))
    reach = "" if representable else f", finite and within {LARGEST_INTEGER} if whole"
    remedy = next((f": write {meant}" for option in options if (meant := _suggest_yaml(value, option))), "")
    raise SettingError(f"params.yaml: {name} is {short_repr(value)}, expected {_describe_type(hint)}{reach}{remedy}.")


def check_share(value: Any, name: str) -> float:
    """Check that a value is a share and return it.

    >>> check_share(0, "ingest.max_bad")
    0.0

    Raises:
        SettingError: it is not a number from 0 to 1.
    """
    result = float(convert_value(value, float, name))
    if not 0 <= result <= 1:
        raise SettingError(f"params.yaml: {name} is {short_repr(value)}, expected a share from 0 to 1.")
    return result


def _suggest_yaml(value: Any, hint: Any) -> str:
    """Suggest the YAML spelling of a value written in another notation; ``""`` if there is none.

    >>> cases = [("3,0", float), ("16_000 ", int), (16000.0, int), ("yes", bool), ("x", float)]
    >>> [_suggest_yaml(value, hint) for value, hint in cases]
    ['3.0', '16000', '16000', 'true', '']
    """
    if not _is_representable(value):
        return ""
    text = str(value).strip()
    if hint is str and isinstance(value, int | float):
        return repr(text)
    if hint is bool and text.casefold() in BOOLEANS:
        return BOOLEANS[text.casefold()]
    if hint in (None, type(None)) and text.casefold() in NULLS:
        return "null"
    if hint not in (int, float) or isinstance(value, bool):
        return ""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return ""
    return "" if not isfinite(number) else repr(number) if hint is float else f"{number:.0f}" * number.is_integer()


def _match_type(value: Any, hint: Any) -> tuple[bool, Any]:
    """Match ``value`` against a single type; return whether it fits, and the converted value."""
    if get_origin(hint) is tuple:
        return _match_tuple(value, get_args(hint))
    if not _is_representable(value):
        return False, value
    if hint is float and type(value) is int:
        return True, float(value)
    kind = type(None) if hint is None else hint
    return type(value) is kind, value


def _is_representable(value: Any) -> bool:
    """Check that a number is finite and, if whole, fits 64 bits; anything but a number passes.

    >>> [_is_representable(value) for value in (2**63 - 1, 2**63, 1e308, float("inf"), float("nan"), "inf")]
    [True, False, True, False, False, True]
    """
    if type(value) is int:
        return abs(value) <= LARGEST_INTEGER
    return not isinstance(value, float) or isfinite(value)


def _match_tuple(value: Any, parts: tuple[Any, ...]) -> tuple[bool, Any]:
    """Match a list against ``tuple[X, ...]`` or ``tuple[X, Y]``."""
    if not isinstance(value, list | tuple):
        return False, value
    hints = [parts[0]] * len(value) if parts[1:] == (...,) else list(parts)
    if len(hints) != len(value):
        return False, value
    matched = [_match_type(item, hint) for item, hint in zip(value, hints, strict=True)]
    return all(found for found, _ in matched), tuple(item for _, item in matched)


def _describe_type(hint: Any) -> str:
    """Describe a type hint in words.

    >>> _describe_type(float | None)
    'a number or null'
    """
    words = {float: "a number", int: "a whole number", str: "text", bool: "true or false", type(None): "null"}
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return " or ".join("a list" if get_origin(o) is tuple else words.get(o, str(o)) for o in options)


def check_fields(config: object, section: str, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Check the fields of a section, given for each whether it is valid and what was expected.

    Raises:
        SettingError: names the first invalid field.
    """
    for name, (valid, expected) in rules.items():
        if not valid:
            raise SettingError(f"params.yaml: {section}.{name} is {getattr(config, name)!r}, expected {expected}.")
