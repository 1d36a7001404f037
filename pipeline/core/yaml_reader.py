"""Read YAML settings written by a person; errors give the line and column in one sentence."""

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

MAX_SIZE = 2**20  # bytes of a file, and values in it with aliases expanded: more than any settings
BYTE_ORDER_MARKS = {  # byte-order marks, longer ones first: that of UTF-32 starts like that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
CONTROL_BYTES = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
TAG = "tag:yaml.org,2002:"
PLAIN_TAGS = {f"{TAG}{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
MERGE_TAG = f"{TAG}merge"
INVALID_CHARACTERS = re.compile("[\0\ud800-\udfff]")  # invalid in file names and in output


def read_yaml(path: Path) -> Any:
    """Read a file as YAML 1.2, where ``1e-05`` is a number (DVC's ``-S train.lr=1e-5`` writes that).

    All numbers are finite, all keys are text, and no value is a date, an object or recursive.

    Raises:
        SettingError: the file cannot be read, is not UTF-8, is not YAML, or contains another kind of value.
    """
    text = decode_settings(read_settings_bytes(path), path)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        if node is None:
            return None
        NodeValidator(path, yaml).validate(node)
        return yaml.constructor.construct_document(node)
    except MarkedYAMLError as error:
        raise SettingError(_syntax_error_message(error, path)) from error
    except ReaderError as error:
        location = _format_position(path, *_line_and_column(text, error.position))
        raise SettingError(
            f"{location}: the character U+{error.character:04X} is not allowed in YAML: delete it."
        ) from error
    except RecursionError as error:
        raise SettingError(f"{path} is nested too deep to be read, expected sections within sections.") from error
    except (YAMLError, ValueError) as error:  # ValueError: an escape beyond Unicode
        raise SettingError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error


def read_settings_bytes(path: Path) -> bytes:
    """Read the bytes of a settings file.

    Raises:
        SettingError: the file is missing, cannot be read, or is too large for settings.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise SettingError(f"{path} is {kind}, expected a file of settings: move it away.")
        if status.st_size > MAX_SIZE:
            raise SettingError(f"{path} has {status.st_size:,} bytes, too many for settings: is it another file?")
        return path.read_bytes()
    except OSError as error:
        raise SettingError(_unreadable_message(path, error)) from error


def _unreadable_message(path: Path, error: OSError) -> str:
    """Explain why a file cannot be read."""
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which does not exist: put the file there, or fix the link."
    if error.errno == errno.ENOENT:
        return f"{paths.current_folder() / path} does not exist: run from the folder that holds {path.name}."
    return f"{path} cannot be read ({error.strerror}): make it a file that you may read."


def decode_settings(data: bytes, path: Path) -> str:
    """Decode UTF-8, with or without a byte-order mark.

    Raises:
        SettingError: it is not UTF-8; the message names the detected encoding and the command that converts it.
    """
    if encoding := _detect_encoding(data):
        raise SettingError(f"{path} is written in {encoding}, expected UTF-8: {_recode_hint(path, encoding)}.")
    if found := CONTROL_BYTES.search(data):
        location = _format_position(path, *_line_and_column(data[: found.start()].decode("latin-1"), found.start()))
        raise SettingError(f"{location}: the byte 0x{found[0][0]:02x} is no text, expected YAML: is it another file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        location = _format_position(path, *_line_and_column(data[: error.start].decode("utf-8-sig"), error.start))
        byte = data[error.start : error.start + 1]
        problem = f"the byte 0x{byte.hex()} is not UTF-8 (in Latin-1 it is {byte.decode('latin-1')!r})"
        raise SettingError(f"{location}: {problem}: {_recode_hint(path, 'LATIN1')}.") from error


def _detect_encoding(data: bytes) -> str:
    """Detect UTF-16 and UTF-32 by a byte-order mark or the pattern of zero bytes; ``""`` for anything else.

    >>> [_detect_encoding("a: 1".encode(encoding)) for encoding in ("utf-16", "utf-16-le", "utf-8")]
    ['UTF-16', 'UTF-16LE', '']
    """
    marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "")
    head = data[:2_000]
    if marked or not head.count(0):
        return marked
    if head.count(0) >= 0.7 * len(head):
        return "UTF-32LE" if head[:1] != b"\0" else "UTF-32BE"
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < 0.4 * len(head):
        return ""
    return "UTF-16LE" if odd > even else "UTF-16BE"


def _recode_hint(path: Path, encoding: str) -> str:
    """Suggest the command that converts a file to UTF-8."""
    return f"save it as UTF-8 (iconv -f {encoding} -t UTF-8 {path.name} > utf8.yaml && mv utf8.yaml {path.name})"


def _line_and_column(text: str, index: int) -> tuple[int, int]:
    r"""Return the line and column of a character, counted from 0 as in YAML's marks.

    >>> _line_and_column("a: 1\nb: 2", 8)
    (1, 3)
    """
    before = text[:index]
    return before.count("\n"), len(before) - (before.rfind("\n") + 1)


def _format_position(path: Path, line: int, column: int) -> str:
    """Format a position in a file, counted from 1."""
    return f"{path}, line {line + 1}, column {column + 1}"


def _syntax_error_message(error: MarkedYAMLError, path: Path) -> str:
    """Format a YAML syntax error with its position."""
    mark = error.problem_mark or error.context_mark
    location = f"{path}" if mark is None else _format_position(path, mark.line, mark.column)
    problem = " ".join(str(error.problem or error.context).split())
    remedy = ": indent with spaces" if "'\\t'" in problem else ""
    return f"{location} is not valid YAML: {problem}{remedy}."


def short_repr(value: object) -> str:
    """Format a value for a message, truncated to 60 characters.

    >>> short_repr("3,0"), len(short_repr("x" * 999)), short_repr(10**5000)
    ("'3,0'", 60, 'a number of more than 60 digits')
    """
    if type(value) is int and abs(value) >= 10**60:  # Python refuses to print much longer ones
        return "a number of more than 60 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


@dataclass
class NodeValidator:
    """Validate the nodes of a YAML document before any object is constructed."""

    path: Path
    yaml: YAML
    sizes: dict[int, int] = field(default_factory=dict)  # number of values, by id of the node
    ancestors: list[int] = field(default_factory=list)  # ids of the nodes that contain the current one

    def validate(self, node: Node, name: str = "") -> int:
        """Validate a node and all its descendants; return the number of values.

        Raises:
            SettingError: a node cannot be a setting.
        """
        if id(node) in self.ancestors:
            raise self.error(node, f"{name} contains itself through an alias: write the value out")
        if id(node) not in self.sizes:
            self.ancestors.append(id(node))
            self.check_tag(node, name)
            inner = sum(self.validate(child, label) for child, label in self.children(node, name))
            self.sizes[id(node)] = 1 + inner
            self.ancestors.pop()
        if self.sizes[id(node)] > MAX_SIZE:
            raise self.error(node, f"{name} expands to more than {MAX_SIZE:,} values: write out what is meant")
        return self.sizes[id(node)]

    def children(self, node: Node, name: str) -> Iterator[tuple[Node, str]]:
        """Validate a scalar or the keys of a section; yield the children with their names."""
        if isinstance(node, ScalarNode):
            self.check_scalar(node, name)
        elif isinstance(node, MappingNode):
            self.check_keys(node, name)
            yield from ((value, join_keys(name, key.value)) for key, value in node.value)
        else:
            yield from ((item, f"{name}[{index}]") for index, item in enumerate(node.value))

    def check_keys(self, node: MappingNode, name: str) -> None:
        """Check that all keys are text and none is repeated."""
        first: dict[str, Node] = {}
        for key, _ in node.value:
            if key.tag == MERGE_TAG:
                continue
            if key.tag != f"{TAG}str":
                found = short_repr(key.value) if isinstance(key, ScalarNode) else "a list or a section"
                raise self.error(key, f"{name or 'a section'} has the key {found}, expected text: put it in quotes")
            if key.value in first:
                line = first[key.value].start_mark.line + 1
                raise self.error(key, f"{join_keys(name, key.value)} is repeated, first in line {line}: keep one")
            first[key.value] = key

    def check_tag(self, node: Node, name: str) -> None:
        """Check that a node is text, a number, true or false, null, a list or a section."""
        if str(node.tag) == f"{TAG}timestamp":
            raise self.error(node, f"{name} is {short_repr(node.value)}, a date: put it in quotes if it is text")
        if str(node.tag) not in PLAIN_TAGS:
            tag = str(node.tag).replace(TAG, "!!")
            raise self.error(node, f"{name or 'the file'} has the tag {tag}, which no setting needs: delete the tag")

    def check_scalar(self, node: ScalarNode, name: str) -> None:
        """Check that a number is finite and fits 64 bits, and that text has no invalid characters."""
        try:
            value = self.yaml.constructor.construct_object(node)
        except (ValueError, KeyError) as error:
            kind = str(node.tag).replace(TAG, "!!")
            raise self.error(node, f"{name} is {short_repr(node.value)}, which cannot be read as {kind}") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(node, f"{name} is {short_repr(node.value)}, expected a finite number")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise self.error(node, f"{name} is {short_repr(node.value)}, expected a number of fewer than 19 digits")
        if isinstance(value, str) and (found := INVALID_CHARACTERS.search(value)):
            raise self.error(node, f"{name} contains the invalid character U+{ord(found[0]):04X}: delete it")

    def error(self, node: Node, problem: str) -> SettingError:
        """Report a problem with the position of its node."""
        return SettingError(f"{_format_position(self.path, node.start_mark.line, node.start_mark.column)}: {problem}.")


def join_keys(name: str, key: str) -> str:
    """Join a section and a key, as in ``audio.seconds``.

    >>> join_keys("", "audio"), join_keys("audio", "seconds")
    ('audio', 'audio.seconds')
    """
    return f"{name}.{key}" if name else str(key)
