"""Links inside the Markdown files: to files, and to headings as GitHub names them. Others are for `make docs-links`."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT

_FENCED = re.compile(r"^ *(`{3,}|~{3,})[^`]*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)|<(?:img|a)[^>]*?(?:src|href)=\"(?P<html>[^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.MULTILINE)
_ABROAD = re.compile(r"[a-z]+:")


def prose(page: Path) -> str:
    """Give a page without its code blocks."""
    return _FENCED.sub("", (ROOT / page).read_text())


def anchors(text: str) -> set[str]:
    """Name headings as GitHub does: small letters, no punctuation, hyphens for spaces, a number for repeats."""
    names: set[str] = set()
    for heading in _HEADING.finditer(text):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading["text"]).replace("`", "").lower()
        kept = "".join(c for c in words if c in " -_" or unicodedata.category(c)[0] in "LNM")
        name = unnumbered = kept.replace(" ", "-")
        number = 0
        while name in names:
            number += 1
            name = f"{unnumbered}-{number}"
        names.add(name)
    return names | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def broken_links(page: Path, text: str) -> list[str]:
    """Give the links of a page that lead to no file, to nothing in the repository, or to no heading."""
    broken = []
    for found in _LINK.finditer(_CODE.sub("", text)):
        target = found["target"] or found["html"]
        if _ABROAD.match(target):
            continue
        path, _, fragment = target.partition("#")
        goal = (ROOT / page.parent / path).resolve() if path else ROOT / page
        is_inside = goal.is_relative_to(ROOT.resolve())
        has_heading = not fragment or (goal.suffix == ".md" and fragment in anchors(_FENCED.sub("", goal.read_text())))
        if not (is_inside and goal.exists() and has_heading):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file or a heading of this repository leads to one."""
    assert broken_links(page, prose(page)) == []


def test_broken_links_are_found() -> None:
    """A missing file, a missing heading, here and elsewhere, and a file outside are broken; what is there is not."""
    text = "[1](#see-it-work) [2](#a-c) [3](CHANGELOG.md#unreleased) [4](CHANGELOG.md#none) [5](no.md) [6](../x)\n"
    assert broken_links(Path("README.md"), text + "`[7](no.md)` [8](https://example.com/no)") == [
        "#a-c",
        "CHANGELOG.md#none",
        "no.md",
        "../x",
    ]


def test_headings_are_named_as_github_does() -> None:
    """Punctuation goes, spaces become hyphens one by one, and repeats are numbered."""
    text = "# What's new?\n## `--flag` & more\n## Same\n## Same\n## [Linked](x.md) text\n"
    assert anchors(text) == {"whats-new", "--flag--more", "same", "same-1", "linked-text"}
