"""The page of a check in a real browser: wide and narrow, light and dark."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest

from beam_mixpanel.pipelines import check_events
from tests.browser import NARROW, WIDE, open_page
from tests.shop import DAY_MS, FIRST_MS, shop_events

HOSTILE = "<script>document.title='stolen'</script><img src=x onerror=\"document.title='stolen'\">"


def write_page(folder: Path, events: list[dict[str, Any]], *flags: str) -> str:
    path = folder / "shop.ndjson"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        assert check_events.run(["--input=shop.ndjson", *flags]) == 0
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(tmp_path_factory.mktemp("shop"), shop_events())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_opens_without_an_error(shop: str, width: int, scheme: Literal["light", "dark"]) -> None:
    """No error in the console, no request, no sideways scrolling, and every part is there."""
    with open_page(shop, width=width, height=1_250, scheme=scheme) as opened:
        assert opened.errors == []
        assert not opened.overflows()
        heads = opened.page.locator("h2").all_inner_texts()
        assert {"What to do first", "Events per day", "Events per name", "Properties"} <= set(heads)
        assert opened.page.locator("svg rect").count() > 150


def test_a_table_that_is_too_wide_is_scrolled_by_keyboard(shop: str) -> None:
    """And every head of a column has a text."""
    with open_page(shop, width=NARROW) as opened:
        wide = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.tabIndex)"
        assert opened.page.locator(".scroll").evaluate_all(wide) == [0]
        assert all(opened.page.locator("th").all_inner_texts())


def test_dark_and_light_differ(shop: str) -> None:
    """The page follows the reader's colour scheme."""
    colours = []
    for scheme in ("light", "dark"):
        with open_page(shop, scheme=scheme) as opened:  # type: ignore[arg-type]
            colours.append(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(colours)) == 2


def test_the_page_prints(shop: str) -> None:
    """On paper it is dark on white, whatever the screen."""
    with open_page(shop, scheme="dark") as opened:
        opened.page.emulate_media(media="print")
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert opened.page.pdf().startswith(b"%PDF")


def test_months_without_events_keep_their_place(tmp_path: Path) -> None:
    """A chart of months has a column for each between the first and the last, so that gaps are seen as gaps."""
    properties = [{"time": FIRST_MS - years * 365 * DAY_MS, "$insert_id": f"{years}"} for years in (0, 5)]
    write_page(tmp_path, [{"event": "A", "properties": each} for each in properties])
    page = (tmp_path / "report.html").read_text()
    assert "Events per month" in page
    assert len(re.findall(r"<title>\d{4}-\d\d: 0</title>", page)) == 59
    assert len(re.findall(r"<title>\d{4}-\d\d: 1</title>", page)) == 2


def test_long_and_turned_names_stay_in_their_place(tmp_path: Path) -> None:
    """A long name takes no page of its own, and one that turns the direction of text turns no text around it."""
    names = ["N" * 255, "\u202eturned"]
    properties = {"time": FIRST_MS, "$insert_id": "a", **dict.fromkeys(names, 1)}
    write_page(tmp_path, [{"event": name, "properties": properties} for name in names])
    page = (tmp_path / "report.html").read_text()
    assert page.count(f"<bdi>{'N' * 100}…</bdi>") == 2
    assert page.count("<bdi>\u202eturned</bdi>") == 2


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    """Names and values that are markup are shown as the text that they are; no script runs."""
    properties = {"time": FIRST_MS, "$insert_id": "a", "distinct_id": HOSTILE, HOSTILE: HOSTILE}
    uri = write_page(tmp_path, [{"event": HOSTILE, "properties": properties}, {"event": HOSTILE}], "--show_values")
    with open_page(uri, width=NARROW) as opened:
        opened.page.locator("summary").first.click()
        assert opened.page.title() == "Check before import"
        assert opened.page.locator("script, img").count() == 0
        assert HOSTILE in opened.page.locator(".bars .label").all_inner_texts()
        assert opened.errors == []
        assert not opened.overflows()
