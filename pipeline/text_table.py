"""Tables that commands print."""

from collections.abc import Sequence

from tabulate import tabulate

ALIGN = {"l": "left", "r": "right"}


def table_lines(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Lay out rows of cells in columns, ``l`` for words and ``r`` for numbers; the last column of words as it is.

    >>> table_lines([("", "main", ""), ("UAR", "61.7", "better")], "lrl")
    ['     main', 'UAR  61.7  better']
    """
    columns = [ALIGN[letter] for letter in align]
    last = None if align.endswith("l") else "right"  # None: no padding, and spaces in paths stay
    text = tabulate(rows, tablefmt="plain", colalign=[*columns[:-1], last], disable_numparse=True)
    return [line.rstrip() for line in text.splitlines()]
