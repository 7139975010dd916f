"""The page, in a browser, while requests are sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from beam_mixpanel.emulator import Emulator
from tests.browser import NARROW, WIDE, OpenedPage, open_page


@pytest.fixture
def opened(emulator: Emulator) -> Iterator[OpenedPage]:
    """The page of `emulator`; at the end nothing may have gone wrong on it."""
    with open_page(emulator.url) as opened:
        yield opened
        assert opened.errors == []


@pytest.fixture
def page(opened: OpenedPage) -> Page:
    return opened.page


def _rows(page: Page) -> list[str]:
    return page.locator("#events details b").all_text_contents()


def test_numbers_appear_while_requests_are_sent(emulator, page, send, event):
    """What was accepted, doubled and refused, and why, is on the page within moments."""
    expect(page.locator("#contact")).to_have_text(f"listening on {emulator.url.removeprefix('http://')}")
    expect(page.locator("#no-event")).to_contain_text("No event yet")
    send(emulator, [event(number) for number in range(1500)])
    send(emulator, [event(0), event(1, time=None)])
    expect(page.locator("#accepted")).to_have_text("1,501")
    expect(page.locator("#unique")).to_have_text("1,500 unique")
    expect(page.locator("#duplicates")).to_have_text("1")
    expect(page.locator("#refused")).to_have_text("1")
    expect(page.locator("#reasons")).to_contain_text("'properties.time' is invalid: must not be missing")
    expect(page.locator("#latency")).to_have_text(re.compile(r"^[\d.,]+ ms$"))
    expect(page.locator("#p95")).to_have_text(re.compile(r"^p95 [\d.,]+ ms$"))
    expect(page.locator("#events-peak")).to_have_text(re.compile(r"^peak 1,50\d$"))
    expect(page.locator("#no-event")).to_be_hidden()


def test_the_kind_of_project_is_shown_and_set(emulator, page, opened, send, event):
    """The page shows the kind of project and changes it; of one that holds events it says that it cannot be changed."""
    kind = page.get_by_label("Project")
    expect(kind).to_have_value("simplified")
    with page.expect_response("**/_emulator/project"):
        kind.select_option("original")
    expect(kind).to_have_value("original")
    assert emulator.stats()["project"] == {"id_merge": "original", "as_sent": False}
    expect(page.locator("#as-sent")).to_be_hidden()
    send(emulator, [event(0, name="$identify")])
    expect(page.locator("#accepted")).to_have_text("1")
    kind.select_option("simplified")
    expect(page.locator("#trouble")).to_contain_text("reset it first")
    expect(kind).to_have_value("original")
    opened.errors = [error for error in opened.errors if "409" not in error]


def test_events_as_sent_are_said_to_be(page, http, emulator):
    """The page says that events are kept as they were sent."""
    http.put(f"{emulator.url}/_emulator/project", json={"as_sent": True})
    expect(page.locator("#as-sent")).to_be_visible()


def test_latest_events_can_be_filtered(emulator, page, send, event):
    """Filters by name and id show what matches, what comes later too, and what was stored long before."""
    send(emulator, [event(1, name="Sign Up")] + [event(number) for number in range(2, 200)])
    expect(page.locator("#events details")).to_have_count(50)
    page.get_by_label("Event name contains").fill("sign up")
    expect(page.locator("#events details b")).to_have_text(["Sign Up"])
    send(emulator, [event(300, name="sign up again"), event(301)])
    expect(page.locator("#events details b")).to_have_text(["sign up again", "Sign Up"])
    page.get_by_label("Id contains").fill("USER-300")
    expect(page.locator("#events details b")).to_have_text(["sign up again"])
    page.get_by_label("Id contains").fill("nobody")
    expect(page.locator("#no-event")).to_have_text("No event matches.")


def test_names_are_text_and_never_markup(emulator, opened, send, event):
    """HTML and scripts in names, ids, properties and failures are shown as they are, and nothing of them runs."""
    evil = "<img src=x onerror=document.title='run'></script><b>"
    send(emulator, [event(1, name=evil, distinct_id=evil, **{evil: evil})])
    emulator.add_fault(kind="status", body={"error": evil})
    send(emulator, [event(2)])
    page = opened.page
    expect(page.locator("#events details b")).to_have_text([evil])
    page.locator("#events summary").click()
    expect(page.locator("#events pre")).to_contain_text("onerror")
    assert page.locator("#events img, #faults img, #reasons img").count() == 0
    assert page.title() != "run"


def test_two_browsers_see_the_same(emulator, page, send, event):
    """A second page has the same figures, and what is clicked on one is seen on the other."""
    browser = page.context.browser
    assert browser is not None
    other = browser.new_context().new_page()
    other.goto(emulator.url)
    page.get_by_label("for the next").fill("1")
    page.get_by_role("button", name="Answer 503").click()
    expect(other.locator("#faults")).to_contain_text("applied")
    assert send(emulator, [event(0)]).status_code == 503
    send(emulator, [event(0)])
    for one in (page, other):
        expect(one.locator("#accepted")).to_have_text("1")


def test_an_event_can_be_looked_into_by_keyboard(emulator, page, send, event):
    """Enter opens an event; while it is open, others do not push it away."""
    send(emulator, [event(1, colour="red")])
    page.locator("#events summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#events pre")).to_contain_text('"colour": "red"')
    send(emulator, [event(2)])
    expect(page.locator("#accepted")).to_have_text("2")
    assert len(_rows(page)) == 1
    page.keyboard.press("Enter")
    expect(page.locator("#events details")).to_have_count(2)


FOCUSED = """() => {
  const focused = document.activeElement, style = getComputedStyle(focused);
  if (focused === document.body) return null;
  const named = focused.labels?.[0]?.textContent || focused.getAttribute("aria-label") || focused.textContent;
  return {place: [...document.querySelectorAll("*")].indexOf(focused), name: named.trim(),
          outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2};
}"""


def test_every_control_is_reached_by_tab_is_named_and_shows_where_one_is(emulator, page, send, event):
    """In the order in which they stand on the page, by those who use no mouse."""
    send(emulator, [event(1)])
    emulator.add_fault(kind="status", times=3)
    expect(page.locator("#events summary")).to_have_count(1)
    expect(page.locator("#faults button")).to_have_count(1)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None or focused in reached:
            break
        reached.append(focused)
    controls = page.evaluate(
        "() => { const all = [...document.querySelectorAll('*')];"
        " return [...document.querySelectorAll('a, button, input, select, summary')].map(one => all.indexOf(one)) }"
    )
    assert [focused["place"] for focused in reached] == controls
    assert [focused for focused in reached if not focused["name"] or not focused["outlined"]] == []


def test_a_click_makes_the_next_requests_fail(emulator, page, send, event):
    """A failure is set for as many requests as the page says, shown, and can be taken back."""
    page.get_by_label("for the next").fill("2")
    page.get_by_role("button", name="Answer 503").click()
    expect(page.locator("#faults")).to_contain_text("0 of 2 applied")
    assert send(emulator, [event(0)]).status_code == 503
    expect(page.locator("#faults")).to_contain_text("1 of 2 applied")
    expect(page.locator("#answers")).to_contain_text("503")
    page.get_by_role("button", name="Remove status").click()
    expect(page.locator("#faults li")).to_have_count(0)
    assert send(emulator, [event(0)]).status_code == 200


def test_every_button_sets_a_failure(emulator, page):
    """The emulator understands each failure that the page offers."""
    buttons = page.locator("#fault-buttons button")
    for button in buttons.all():
        button.click()
    expect(page.locator("#faults li")).to_have_count(buttons.count())
    assert len(emulator.faults()) == buttons.count() > 10


def test_a_refused_setting_is_explained(emulator, opened):
    """What the emulator refuses is said on the page."""
    opened.page.get_by_label("for the next").fill("0")
    opened.page.get_by_role("button", name="Answer 503").click()
    expect(opened.page.get_by_role("alert")).to_contain_text(">= 1")
    assert [error for error in opened.errors if "400" not in error] == []
    opened.errors.clear()


def test_limits_and_their_use(emulator, page, send, event):
    """Limits are set on the page, and it shows how much of them is used."""
    page.get_by_label("Events per rolling minute").fill("4")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("#limits")).to_contain_text("4 events in 60 s")
    send(emulator, [event(0), event(1)])
    expect(page.locator("#limits")).to_contain_text("50 %")
    assert send(emulator, [event(number) for number in range(3)]).status_code == 429
    expect(page.locator("#limited")).to_have_text("3 rate limited")


def test_export_from_the_page(emulator, page, send, event):
    """Events are downloaded as they were received, all copies or one of each."""
    send(emulator, [event(0), event(0), event(1)])
    for link, numbers in (("all copies", [0, 0, 1]), ("de-duplicated", [0, 1])):
        with page.expect_download() as download:
            page.get_by_role("link", name=link).click()
        lines = download.value.path().read_text().splitlines()
        assert [json.loads(line) for line in lines] == [event(number) for number in numbers]


def test_reset_from_the_page(emulator, page, send, event):
    """Reset forgets what was sent, on the page too."""
    send(emulator, [event(0)])
    expect(page.locator("#events details")).to_have_count(1)
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page.locator("#accepted")).to_have_text("0")
    expect(page.locator("#events details")).to_have_count(0)
    assert emulator.events() == []
    send(emulator, [event(1)])
    expect(page.locator("#events details")).to_have_count(1)


def test_an_emulator_that_is_gone_is_noticed():
    """When the emulator ends, the page says so and since when its figures are old; when it is back, that it is."""
    with Emulator() as emulator, open_page(emulator.url) as opened:
        port = int(emulator.url.rpartition(":")[2])
        expect(opened.page.locator("#contact")).to_contain_text("listening")
        emulator.__exit__(None, None, None)
        expect(opened.page.get_by_role("alert")).to_contain_text("cannot be reached; what is shown here is of ")
        with Emulator(port=port):
            expect(opened.page.get_by_role("alert")).to_be_hidden()
            expect(opened.page.locator("#contact")).to_contain_text("listening")


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window(emulator, send, event, width, scheme):
    """At both widths nothing has to be scrolled sideways, however long names and reasons are; buttons can be hit."""
    send(emulator, [event(1, name="n" * 200, distinct_id="d" * 200), event(2, time=None)])
    emulator.add_fault(kind="status", body={"error": "e" * 300})
    emulator.set_limits(rate_limit=10, rolling_limit=10)
    with open_page(emulator.url, width=width, scheme=scheme) as opened:
        opened.page.locator("#events summary").click()
        expect(opened.page.locator("#events pre")).to_be_visible()
        assert not opened.overflows()
        heights = opened.page.eval_on_selector_all(
            "button, input", "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(heights) >= 24
        assert opened.errors == []


CONTRASTS = """() => {
  const style = getComputedStyle(document.documentElement);
  const luminance = (name) => {
    const hex = style.getPropertyValue(name).trim().slice(1);
    const digits = hex.length === 3 ? [...hex].map((digit) => digit + digit) : hex.match(/../g);
    const [red, green, blue] = digits.map((two) => parseInt(two, 16) / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [darker, lighter] = [luminance(one), luminance(other)].sort((left, right) => left - right);
    return (lighter + 0.05) / (darker + 0.05);
  };
  const against = (names) => names.flatMap((name) => ["--ground", "--surface"].map((ground) => contrast(name, ground)));
  const least = (...names) => Math.min(...against(names));
  return [least("--text", "--muted", "--accent", "--bad"), least("--edge", "--good", "--warn")];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(emulator, scheme):
    """Text has the contrast that WCAG 2.2 asks for at level AA (4.5), and edges and bars theirs (3)."""
    with open_page(emulator.url, scheme=scheme) as opened:
        text, parts = opened.page.evaluate(CONTRASTS)
        assert text >= 4.5
        assert parts >= 3


def test_everything_that_can_be_used_has_a_name(page):
    """Each control has a name that a screen reader can say."""
    controls = page.locator("a, button, input, summary, svg").all()
    snapshot = [control.aria_snapshot() for control in controls]
    assert len(snapshot) > 20
    assert [text for text in snapshot if '"' not in text] == []
