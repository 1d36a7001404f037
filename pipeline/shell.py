"""Write words into lines for a shell, so that each line runs as it is printed."""

import shlex


def quote(word: str, *, encoding: str = "utf-8") -> str:
    r"""Quote a word for bash. Letters that nobody can see or copy stand there as the octal numbers of their bytes.

    >>> print(quote("clips"), quote("it's Sprachübung"), quote("a\nb"), quote("ü", encoding="ascii"))
    clips 'it'"'"'s Sprachübung' $'a\012b' $'\303\274'

    Args:
        word: any text without NUL; bytes of a file name that are no UTF-8 come as Python decodes them.
        encoding: what the line is printed in.
    """
    if is_shown(word, encoding):
        return shlex.quote(word)
    return f"$'{''.join(_escaped(letter, encoding) for letter in word)}'"


def is_shown(text: str, encoding: str) -> bool:
    """Say whether all letters of a text can be seen, and written in an encoding."""
    return text.isprintable() and text == text.encode(encoding, "replace").decode(encoding)


def _escaped(letter: str, encoding: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if is_shown(letter, encoding):
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode(errors="surrogateescape"))
