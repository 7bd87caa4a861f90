"""A real Chromium that opens reports."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evs_batch.report import build

INSTALLED = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Playwright's own, or the machine's."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        program = own if Path(own).exists() else INSTALLED
        if program is None:
            pytest.skip("there is no Chromium")
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a report; nothing may go wrong in it, and nothing may be asked of the network."""
    said, asked, contexts = list[str](), list[str](), list[Any]()

    def open_report(output: Path, width: int = 1200, **settings: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **settings))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(Path(build(str(output))).as_uri())
        return page

    yield open_report
    assert said == []
    assert [url for url in asked if not url.startswith("file://")] == []
    for context in contexts:
        context.close()


def until(page: Any, expression: str) -> None:
    """Wait until an expression is true; the page itself may not evaluate any."""
    for _ in range(100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {expression}")
