"""The browser that other tests look at pages with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.browser import NARROW, chromium, open_page

PAGE = """<!doctype html><title>A page</title><link rel="icon" href="data:,">
<style>:root {{ color-scheme: light dark }}</style>
<main style="width: {width}px">text</main><script>{script}</script>"""


def _write(folder: Path, *, width: int = 100, script: str = "") -> str:
    path = folder / "page.html"
    path.write_text(PAGE.format(width=width, script=script))
    return path.as_uri()


def test_a_page_has_the_width_and_colours_that_were_asked_for(tmp_path: Path) -> None:
    """A page is shown at a given width and colour scheme, and nothing is wrong with it."""
    with open_page(_write(tmp_path), width=NARROW, scheme="dark") as opened:
        seen = opened.page.evaluate("[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]")
        assert seen == [NARROW, True]
        assert not opened.overflows()
        assert opened.errors == []


def test_a_page_that_is_too_wide_is_noticed(tmp_path: Path) -> None:
    """Sideways scrolling is told."""
    with open_page(_write(tmp_path, width=500), width=NARROW) as opened:
        assert opened.overflows()


@pytest.mark.parametrize("script", ["console.error('oh')", "throw new Error('oh')"])
def test_errors_of_a_page_are_collected(tmp_path: Path, script: str) -> None:
    """What the console calls an error, and an exception that nobody catches, are kept."""
    with open_page(_write(tmp_path, script=script)) as opened:
        assert any("oh" in error for error in opened.errors)


def test_nothing_beyond_this_machine_is_reached(tmp_path: Path) -> None:
    """A request to another host fails, and is told."""
    script = "fetch('https://example.com/x').catch(() => { document.title = 'refused' })"
    with open_page(_write(tmp_path, script=script)) as opened:
        opened.page.wait_for_function("document.title === 'refused'")
        assert "asked for https://example.com/x" in opened.errors


@pytest.mark.parametrize(("variable", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_browser_is_a_skip_and_in_ci_a_failure(
    monkeypatch: pytest.MonkeyPatch, variable: str, outcome: type[BaseException]
) -> None:
    """Without Chromium a test is skipped with the cure as its reason; where CI is set, it fails."""
    monkeypatch.setenv("CI", variable)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(outcome, match="scripts/install-browser"):
        chromium()
