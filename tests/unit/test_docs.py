"""The pages: links, anchors and paths lead somewhere, code blocks fit, and tables name all columns that there are."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.core import tables
from pipeline.dataset.shards import Layout
from pipeline.train.bundle import Card

ROOT = Path(__file__).parents[2]
FOLDERS = ("data", "features", "models")
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name / "README.md" for name in FOLDERS),
]
PATHS = re.compile(r"(?<![\w/.-])((?:pipeline|tests|benchmarks|docs)/[\w./-]*\w)(?![\w*<])")


def lines(page: Path, *, code: bool) -> Iterator[str]:
    """Give the lines within blocks of code, or those outside."""
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside == code:
            yield line


def anchors(page: Path) -> set[str]:
    """Name the headings as GitHub does."""
    heads = [line.lstrip("#").strip().lower() for line in lines(page, code=False) if re.match("#+ ", line)]
    plain = (head.replace("&lt;", "").replace("&gt;", "") for head in heads)
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_a_file_and_its_heading(page):
    found = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", "\n".join(lines(page, code=False)))
    wrong = []
    for link in (one or other for one, other in found):
        path, _, anchor = link.partition("#")
        if link.startswith(("http:", "https:")):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_of_the_project_exist(page):
    named = {path for code in (True, False) for line in lines(page, code=code) for path in PATHS.findall(line)}
    assert {path for path in named if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_of_code_fit_without_scrolling(page):
    assert [line for line in lines(page, code=True) if len(line) > 100] == []


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 110
    assert len(text.split()) <= 900


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("data", [*tables.MANIFEST_SCHEMA.names, *tables.SPLITS_SCHEMA.names]),
        ("features", ["clip_id", "variant", "key", "valid_frames", "x", *(each.name for each in fields(Layout))]),
        ("models", [*tables._predictions_schema(["a"]).names, *(each.name for each in fields(Card)), "sha256"]),
    ],
)
def test_a_folder_says_what_each_column_and_key_means(folder, names):
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []
