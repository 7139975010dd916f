"""Opens pages in the system's Chromium, for the tests of what people look at.

`scripts/install-browser` installs it; no browser is downloaded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, ViewportSize, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
LOCAL_HOSTS = ("127.0.0.1", "localhost")
LOCAL_SCHEMES = ("file", "data", "blob", "about")
FLAGS = (
    "--no-sandbox",  # Chromium refuses to run as root with it, and only pages of ours are opened
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    f"--host-resolver-rules=MAP * ~NOTFOUND, {', '.join(f'EXCLUDE {host}' for host in LOCAL_HOSTS)}",
)
WIDE, NARROW = 1280, 390


def chromium() -> str:
    """Return the path of Chromium; without one the test is skipped, or fails in CI."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    reason = "Chromium is not installed; scripts/install-browser installs it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class OpenedPage:
    """A page and what went wrong on it.

    Attributes:
      page: Playwright's.
      errors: what the console called an error, exceptions that nobody caught, and requests beyond this machine.
    """

    def __init__(self, page: Page) -> None:
        """Watch a page."""
        self.page = page
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route("**/*", self._let_local_pass)

    def overflows(self) -> bool:
        """Tell whether the page has to be scrolled sideways."""
        overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(self.page.evaluate(overflow))

    def _let_local_pass(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in LOCAL_SCHEMES or url.hostname in LOCAL_HOSTS:
            route.continue_()
        else:
            self.errors.append(f"asked for {route.request.url}")
            route.abort()


@contextmanager
def open_page(
    url: str, *, width: int = WIDE, height: int = 900, scheme: Literal["light", "dark"] = "light"
) -> Iterator[OpenedPage]:
    """Open a URL (also file://…) in a window of its own; nothing beyond this machine can be reached.

    Each call runs a Chromium of its own: Playwright's synchronous interface keeps an event loop running on this
    thread, which tests that use asyncio would stumble over.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            viewport = ViewportSize(width=width, height=height)
            page = browser.new_page(viewport=viewport, color_scheme=scheme, accept_downloads=True)
            opened = OpenedPage(page)
            page.goto(url)
            yield opened
        finally:
            browser.close()
