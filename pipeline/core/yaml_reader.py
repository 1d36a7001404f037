"""Read settings that a person wrote as YAML; what cannot be used is said in one sentence with its place."""

import codecs
import errno
import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from pipeline.core import paths
from pipeline.core.errors import SettingError

LARGEST = 2**20  # bytes of a file, and values in it, aliases written out: more are no settings
MARKS = {  # the longer ones first: UTF-32 begins as UTF-16 does
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
TAG = "tag:yaml.org,2002:"
PLAIN = {f"{TAG}{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
MERGE = f"{TAG}merge"
BROKEN = re.compile("[\0\ud800-\udfff]")  # no file name and no output can hold these


def read(path: Path) -> Any:
    """Read a file as YAML 1.2, where ``1e-05`` is a number (DVC's ``-S train.lr=1e-5`` writes that).

    Numbers are finite, keys are text, no value is a date or an object, and none holds itself.

    Raises:
        SettingError: the file cannot be read, is not UTF-8, is no YAML, or holds something else.
    """
    text = decoded(contents(path), path)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        if node is None:
            return None
        Check(path, yaml).value(node)
        return yaml.constructor.construct_document(node)
    except MarkedYAMLError as error:
        raise SettingError(unparsed(error, path)) from error
    except ReaderError as error:
        place = spot(path, *position(text, error.position))
        raise SettingError(
            f"{place}: the character U+{error.character:04X} cannot stand in YAML: delete it."
        ) from error
    except RecursionError as error:
        raise SettingError(f"{path} is nested too deep to be read, expected sections within sections.") from error
    except (YAMLError, ValueError) as error:  # ValueError: an escape beyond Unicode
        raise SettingError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error


def contents(path: Path) -> bytes:
    """Read the bytes of a file of settings.

    Raises:
        SettingError: there is none, it cannot be read, or it is too large for settings.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe or a device"
            raise SettingError(f"{path} is {kind}, expected a file of settings: move it away.")
        if facts.st_size > LARGEST:
            raise SettingError(f"{path} has {facts.st_size:,} bytes, too many for settings: is it another file?")
        return path.read_bytes()
    except OSError as error:
        raise SettingError(absent(path, error)) from error


def absent(path: Path, error: OSError) -> str:
    """Say why there is no file to read."""
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which does not exist: put the file there, or mend the link."
    if error.errno == errno.ENOENT:
        return f"{paths.here() / path} does not exist: run from the folder that holds {path.name}."
    return f"{path} cannot be read ({error.strerror}): make it a file that you may read."


def decoded(data: bytes, path: Path) -> str:
    """Turn UTF-8 into text, with a mark before it or without.

    Raises:
        SettingError: it is something else; the sentence names the encoding, if it can be told, and how to change it.
    """
    if encoding := foreign(data):
        raise SettingError(f"{path} is written in {encoding}, expected UTF-8: {recoding(path, encoding)}.")
    if found := BINARY.search(data):
        place = spot(path, *position(data[: found.start()].decode("latin-1"), found.start()))
        raise SettingError(f"{place}: the byte 0x{found[0][0]:02x} is no text, expected YAML: is it another file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = spot(path, *position(data[: error.start].decode("utf-8-sig"), error.start))
        byte = data[error.start : error.start + 1]
        said = f"the byte 0x{byte.hex()} is not UTF-8 (in Latin-1 it is {byte.decode('latin-1')!r})"
        raise SettingError(f"{place}: {said}: {recoding(path, 'LATIN1')}.") from error


def foreign(data: bytes) -> str:
    """Name the encoding of a text that tells it by its first bytes or by a zero in every other one, else nothing.

    >>> foreign("a: 1".encode("utf-16")), foreign("a: 1".encode("utf-16-le")), foreign(b"a: 1")
    ('UTF-16', 'UTF-16LE', '')
    """
    marked = next((name for mark, name in MARKS.items() if data.startswith(mark)), "")
    head = data[:2_000]
    if marked or not head.count(0):
        return marked
    if head.count(0) >= 0.7 * len(head):
        return "UTF-32LE" if head[:1] != b"\0" else "UTF-32BE"
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < 0.4 * len(head):
        return ""
    return "UTF-16LE" if odd > even else "UTF-16BE"


def recoding(path: Path, encoding: str) -> str:
    """Say how a file becomes UTF-8."""
    return f"save it as UTF-8 (iconv -f {encoding} -t UTF-8 {path.name} > utf8.yaml && mv utf8.yaml {path.name})"


def position(text: str, index: int) -> tuple[int, int]:
    r"""Give line and column of a character, from 0 on, as YAML's marks do.

    >>> position("a: 1\nb: 2", 8)
    (1, 3)
    """
    before = text[:index]
    return before.count("\n"), len(before) - (before.rfind("\n") + 1)


def spot(path: Path, line: int, column: int) -> str:
    """Write a place in a file, from 1 on."""
    return f"{path}, line {line + 1}, column {column + 1}"


def unparsed(error: MarkedYAMLError, path: Path) -> str:
    """Say where YAML ends to be YAML."""
    mark = error.problem_mark or error.context_mark
    place = f"{path}" if mark is None else spot(path, mark.line, mark.column)
    problem = " ".join(str(error.problem or error.context).split())
    remedy = ": indent with blanks" if "'\\t'" in problem else ""
    return f"{place} is not valid YAML: {problem}{remedy}."


def shown(value: object) -> str:
    """Write a value for a sentence, a long one cut.

    >>> shown("3,0"), len(shown("x" * 999)), shown(10**5000)
    ("'3,0'", 60, 'a number of more than 60 digits')
    """
    if type(value) is int and abs(value) >= 10**60:  # Python refuses to write out what is much longer
        return "a number of more than 60 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


@dataclass
class Check:
    """A look at what a file says, value by value, before anything is made of it."""

    path: Path
    yaml: YAML
    sizes: dict[int, int] = field(default_factory=dict)  # by node: the values in it, aliases written out
    above: list[int] = field(default_factory=list)  # the nodes that hold the one looked at

    def value(self, node: Node, name: str = "") -> int:
        """Look at a value and all within it; give the number of values.

        Raises:
            SettingError: it cannot be a setting.
        """
        if id(node) in self.above:
            raise self.refused(node, f"{name} holds itself by its alias: write the value out")
        if id(node) not in self.sizes:
            self.above.append(id(node))
            self.refuse_tag(node, name)
            inner = sum(self.value(each, label) for each, label in self.inner(node, name))
            self.sizes[id(node)] = 1 + inner
            self.above.pop()
        if self.sizes[id(node)] > LARGEST:
            raise self.refused(node, f"{name} stands for more than {LARGEST:,} values: write out what is meant")
        return self.sizes[id(node)]

    def inner(self, node: Node, name: str) -> Iterator[tuple[Node, str]]:
        """Give what a section or a list holds, each with its name; look at a plain value."""
        if isinstance(node, ScalarNode):
            self.refuse_scalar(node, name)
        elif isinstance(node, MappingNode):
            self.refuse_keys(node, name)
            yield from ((value, dotted(name, key.value)) for key, value in node.value)
        else:
            yield from ((each, f"{name}[{number}]") for number, each in enumerate(node.value))

    def refuse_keys(self, node: MappingNode, name: str) -> None:
        """Refuse a key that is no text, and one that stands there twice."""
        first: dict[str, Node] = {}
        for key, _ in node.value:
            if key.tag == MERGE:
                continue
            if key.tag != f"{TAG}str":
                said = shown(key.value) if isinstance(key, ScalarNode) else "a list or a section"
                raise self.refused(key, f"{name or 'a section'} has the key {said}, expected text: put it in quotes")
            if key.value in first:
                line = first[key.value].start_mark.line + 1
                raise self.refused(key, f"{dotted(name, key.value)} stands there twice, first in line {line}: keep one")
            first[key.value] = key

    def refuse_tag(self, node: Node, name: str) -> None:
        """Refuse dates, objects and what else is neither text nor number, list nor section."""
        if str(node.tag) == f"{TAG}timestamp":
            said = f"{name} is {shown(node.value)}, a date: put it in quotes if it is text"
            raise self.refused(node, said)
        if str(node.tag) not in PLAIN:
            tag = str(node.tag).replace(TAG, "!!")
            raise self.refused(node, f"{name or 'the file'} has the tag {tag}, which no setting needs: delete the tag")

    def refuse_scalar(self, node: ScalarNode, name: str) -> None:
        """Refuse a number that is none, or none that a computer holds, and text that no file could hold."""
        try:
            value = self.yaml.constructor.construct_object(node)
        except (ValueError, KeyError) as error:
            kind = str(node.tag).replace(TAG, "!!")
            raise self.refused(node, f"{name} is {shown(node.value)}, which cannot be read as {kind}") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self.refused(node, f"{name} is {shown(node.value)}, expected a finite number")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise self.refused(node, f"{name} is {shown(node.value)}, expected a number of fewer than 19 digits")
        if isinstance(value, str) and (found := BROKEN.search(value)):
            raise self.refused(node, f"{name} holds the character U+{ord(found[0]):04X}, which no name has: delete it")

    def refused(self, node: Node, why: str) -> SettingError:
        """Say what is wrong with a value, and where it stands."""
        return SettingError(f"{spot(self.path, node.start_mark.line, node.start_mark.column)}: {why}.")


def dotted(name: str, key: str) -> str:
    """Join names as in ``audio.seconds``.

    >>> dotted("", "audio"), dotted("audio", "seconds")
    ('audio', 'audio.seconds')
    """
    return f"{name}.{key}" if name else str(key)
