"""Builds the documentation: `make docs`. Sources are the Markdown files as they are read on GitHub, too.

The contents are the lists of links of `docs/index.md`, a section for each heading.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

from generate_reference import PAGES, write_pages  # noqa: E402

from beam_mixpanel.version import VERSION  # noqa: E402

project = "beam_mixpanel"
author = "the authors of beam_mixpanel"
copyright = author
version = release = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/**/*.md", "templates/README.md"]
exclude_patterns = [".*", "site", "build", "dist", "go", "java", "tests", "**/node_modules"]
myst_heading_anchors = 6
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]  # a page of the reference may begin with a heading of its own depth

default_role = "code"  # docstrings write `names` as Markdown does
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"beam_mixpanel {VERSION}"
html_theme_options = {"top_of_page_buttons": []}
html_static_path: list[str] = []
html_extra_path = ["site-root"]
html_copy_source = False
html_show_sphinx = False
linkcheck_timeout = 20

_SECTION = re.compile(r"^## (?P<title>.+?)\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r"^[-*] \[(?P<title>[^]]+)\]\((?P<target>[^)#]+\.md)\)", re.MULTILINE)
_LINK = re.compile(r"\[(?P<text>[^]\n]+)\]\((?P<target>(?!\w+:|#)[^)\s]+)\)")


def contents(index: str) -> dict[str, list[tuple[str, str]]]:
    """Give the pages of each section of `index.md`, by title and path."""
    return {
        section["title"]: [(item["title"], item["target"]) for item in _ITEM.finditer(section["body"])]
        for section in _SECTION.finditer(index)
    }


def _add_contents(index: str) -> str:
    """Put a hidden table of contents for each section under the index, for the sidebar."""
    trees = []
    for title, pages in contents(index).items():
        made = [(name, f"_generated/{path}.md") for path, name in PAGES.items()] if title == "Reference" else []
        lines = [f"{name} <{target.removesuffix('.md')}>" for name, target in [*made, *pages]]
        trees.append("\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *lines, "```", ""]))
    generated = "".join(f"- [{name}](_generated/{path}.md)\n" for path, name in PAGES.items())
    return re.sub(r"(?<=\n)What `make docs` makes.*?\n\n", generated, index, flags=re.DOTALL) + "\n".join(trees)


def _without_folders(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make links to folders, which a site does not have, their text; give the index its contents."""
    folder = (ROOT / docname).parent

    def replaced(link: re.Match[str]) -> str:
        return link["text"] if (folder / link["target"]).is_dir() else link[0]

    source[0] = _LINK.sub(replaced, source[0])
    if docname == root_doc:
        source[0] = _add_contents(source[0])


def setup(app: Sphinx) -> None:
    """Connect the above to the build."""
    app.connect("config-inited", lambda app, config: write_pages(DOCS / "_generated"))
    app.connect("source-read", _without_folders)
