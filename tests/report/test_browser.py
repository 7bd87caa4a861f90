"""The report in a real Chromium: it plays, sorts, filters and harms nobody."""

import io
from typing import Any

import pytest
from PIL import Image

from tests.report.browser import browser, opened, until
from tests.report.conftest import HOSTILE, bad, good, write_metrics

__all__ = ["browser", "opened"]
pytestmark = pytest.mark.slow


def cells(page: Any, column: int) -> list[str]:
    return page.locator(f"#table tbody tr > :nth-child({column})").all_inner_texts()


ROWS = [good(2, prompt=HOSTILE), good(1, output_bytes=5_000_000), bad("broken", "MediaError", HOSTILE), good(3)]


def test_rows_are_sorted_found_and_opened_by_page(make_output, opened):
    page = opened(make_output([*ROWS, *(good(n) for n in range(4, 120))]))
    assert page.locator("#count").inner_text() == "120 rows"
    assert (page.locator("#page").inner_text(), len(cells(page, 1))) == ("page 1 of 3", 50)
    page.get_by_role("button", name="On", exact=True).click()
    assert page.locator("#page").inner_text() == "page 2 of 3"
    page.get_by_role("button", name="MB").click()
    assert cells(page, 1)[0] == "clip2"
    page.get_by_role("button", name="MB").click()
    assert (cells(page, 1)[0], cells(page, 11)[0]) == ("clip1", "5")
    assert page.locator("th[aria-sort=descending] button").text_content() == "MB"
    page.get_by_label("Find").fill("number 11")
    assert cells(page, 1)[0].startswith("clip11")
    assert page.locator("#count").inner_text() == "11 rows"
    page.get_by_label("Find").fill("")
    page.get_by_label("Show").select_option("failed")
    assert cells(page, 1) == ["broken"]


def test_hostile_prompts_and_messages_are_texts(make_output, opened):
    page = opened(make_output(ROWS))
    assert page.evaluate("window.harmed") is None
    assert page.locator("#table img, #failures img").count() == 0
    assert "<img src=x" in cells(page, 4)[0]
    page.locator("details summary").click()
    assert "window.harmed" in page.locator("#failures li").inner_text()


def test_failures_show_their_cure_and_their_rows(make_output, opened):
    page = opened(make_output(ROWS))
    assert page.locator("#failures summary").inner_text().startswith("1 × MediaError the source video is missing")
    page.locator("#failures summary").click()
    page.get_by_role("button", name="show these rows").click()
    assert cells(page, 1) == ["broken"]
    assert "evs-batch probe" in page.locator("#failures p").inner_text()


def pixel(page: Any, share: float) -> int:
    """How bright the picture is in the middle of its height, so far from the left."""
    image = Image.open(io.BytesIO(page.locator("#picture").screenshot())).convert("L")
    return image.getpixel((int(share * (image.width - 1)), image.height // 2))


def test_the_slider_parts_source_and_result_and_the_clip_plays(make_output, opened):
    page = opened(make_output([good(1), good(2)], clips=("clip1", "clip2")))
    until(page, "document.getElementById('picture').width === 96")
    page.get_by_label("Before / after").fill("50")
    assert pixel(page, 0.25) < 100 < pixel(page, 0.75), "a dark source on the left, a bright result on the right"
    page.get_by_label("Before / after").fill("100")
    assert pixel(page, 0.75) < 100
    page.get_by_role("button", name="Play").click()
    until(page, "document.getElementById('time').value > 0.3")
    assert page.get_by_role("button", name="Pause").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Watch clip2").click()
    assert page.locator("#playing").inner_text().startswith("2 of 2: clip2")
    assert page.locator("#sheet").get_attribute("src") == "previews/clip2.sheet.jpg"


def test_a_narrow_screen_shows_all_without_scrolling_sideways(make_output, opened):
    page = opened(make_output(ROWS, clips=("clip1",)), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#count").inner_text() == "4 rows"


def test_work_and_quality_are_drawn_in_light_and_dark(make_output, opened):
    output = make_output(ROWS)
    write_metrics(output, [{"id": f"clip{n}", "psnr": 20.0 + n, "source_psnr": 19.0 + n} for n in (1, 2, 3)])
    backgrounds = set()
    for scheme in ("light", "dark"):
        page = opened(output, color_scheme=scheme)
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.locator("#stages tbody tr").inner_text().split() == ["t2i_a", "1", "12", "1.5", "125", "0.75"]
        drawn = (
            "[...document.getElementById('timeline').getContext('2d').getImageData(0, 0, 900, 40).data].some(Boolean)"
        )
        assert page.evaluate(drawn)
        assert page.locator("#quality .bars span").count() == 40
    assert len(backgrounds) == 2


def test_it_works_without_a_mouse(make_output, opened):
    page = opened(make_output(ROWS, clips=("clip1",)))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the rows"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, canvas')]"
        ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length"
    )
    assert unnamed == 0
    page.get_by_role("button", name="id", exact=True).focus()
    page.keyboard.press("Enter")
    assert cells(page, 1) == ["broken", "clip1", "clip2", "clip3"]


def test_ten_thousand_rows_are_shown_page_by_page(make_output, opened):
    page = opened(make_output([good(n) for n in range(10_000)]))
    assert page.locator("#page").inner_text() == "page 1 of 200"
    page.get_by_label("Find").fill("star number 9999")
    assert cells(page, 1) == ["clip9999"]
