"""From what was trained to the bundle that leaves the pipeline: never without its scores."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.serving import card as cards
from pipeline.serving import markdown
from pipeline.store import files


def release(trained: Path, output: Path, scores: Mapping[str, Any], *, longest: float) -> None:
    """Copy a bundle, its scores on the card and the page for people beside it.

    Args:
        trained: a bundle without scores.
        output: the bundle to write.
        scores: all that evaluate found.
        longest: s, of the clips it was trained and tested on.
    """
    judged = replace(cards.read(trained, stage="train"), scores=scores, longest=longest)
    with files.aside(output) as part:
        shutil.copytree(trained, part)
        (part / markdown.NAME).write_text(markdown.page(judged), encoding="utf-8")
        cards.write(part, replace(judged, files=cards.checksums(part)))
