"""The report's tables of provenance: which files, on what terms, with which settings and programs."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd

from pipeline import config
from pipeline.evaluation.tables import Table, Values, part
from pipeline.evaluation.wording import MISSING, count

SYNTHETIC = {"licence": "none needed", "citation": "nothing: synthesised by the demo, it holds no recording."}
EXECUTION = {"execute", "device", "store", "serve"}  # how to run, never what comes out


def quarantine(manifests: Mapping[str, pd.DataFrame], audit: Values) -> Table:
    """How many files of each corpus may be used, and why the others may not. Columns needed: status, warnings."""
    rows = [
        (name, count(len(files)), count((files["status"] == "ok").sum()), tally(reasons(files)), tally(oddities(files)))
        for name, files in manifests.items()
    ]
    unused = part(audit, "left_out")
    said = ", ".join(f"{number:,} ({reason.replace('_', ' ')})" for reason, number in unused.items() if number)
    return Table(
        caption="Files found, used and left out",
        head=("corpus", "files", "usable", "left out", "usable, but noted"),
        align="lrrll",
        rows=rows,
        note=f"Usable, but in no fold: {said}." if said else "",
    )


def reasons(files: pd.DataFrame) -> Iterable[str]:
    """Why files are left out, once per file."""
    return (status for status in files["status"] if status != "ok")


def oddities(files: pd.DataFrame) -> Iterable[str]:
    """What is odd about the usable files, once per file and oddity."""
    usable = files.loc[files["status"] == "ok", "warnings"].dropna()
    return (word.strip() for words in usable for word in words.split(",") if word.strip())


def tally(words: Iterable[str]) -> str:
    """Count words, the most frequent first.

    >>> tally(["silent", "duplicate", "duplicate"])
    '2 duplicate, 1 silent'
    """
    ordered = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {word.replace('_', ' ')}" for word, number in ordered) or "none"


def sources(bundle: Values) -> Table:
    """Where the speech comes from and on what terms; a DOI becomes an address."""
    synthetic = set(bundle.get("synthetic") or ())
    rows = []
    for name in part(bundle, "corpora"):
        page = SYNTHETIC if name in synthetic else part(bundle, "corpora", name)
        rows.append((name, addressed(page.get("licence")), addressed(page.get("citation"))))
    return Table(caption="Speech used", head=("corpus", "licence", "please cite"), align="lll", rows=rows)


def addressed(text: Any) -> str:
    """Give a text with its DOI written as an address.

    >>> addressed("doi:10.1371/journal.pone.0196391")
    'https://doi.org/10.1371/journal.pone.0196391'
    """
    return re.sub(r"\bdoi[: ]\s*(?=10\.)", "https://doi.org/", str(text or MISSING), flags=re.IGNORECASE)


def parameters(params: Values, bundle: Values) -> Table:
    """The settings behind the numbers: not how it ran, not where the corpora lay, not the networks left aside."""
    chosen = {name: value for name, value in params.items() if name not in EXECUTION}
    chosen["data"] = {"demo": part(params, "data", "demo")} if bundle.get("synthetic") else {}
    for section, kept in (("model", bundle.get("arch")), ("features", bundle.get("view"))):
        values = part(params, section).items()
        chosen[section] = {name: value for name, value in values if name == kept or not isinstance(value, Mapping)}
    rows = [(name, plain(value)) for name, value in config.flat(chosen)]
    return Table(caption="Parameters", head=("params.yaml", "value"), align="ll", rows=rows)


def plain(value: Any) -> str:
    """Write a setting as YAML would; a place on this machine is nobody else's business.

    >>> plain(True), plain(["noise", "pitch"]), plain(None), plain("/home/me/corpus")
    ('true', '[noise, pitch]', 'null', '(a folder)')
    """
    if isinstance(value, list):
        return f"[{', '.join(map(plain, value))}]"
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    here = value.startswith("~") or any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath))
    return "(a folder)" if here else value


def versions(bundle: Values, training: Values) -> Table:
    """With what it was computed."""
    found = part(bundle, "versions") | {name: training[name] for name in ("backend", "device") if name in training}
    rows = [(name, str(value)) for name, value in found.items()]
    return Table(caption="Computed with", head=("software", "version"), align="ll", rows=rows)
