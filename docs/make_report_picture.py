"""Draws docs/report.png: the report of a run, light and dark, as Chromium shows it.

python docs/make_report_picture.py OUTPUT
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1000, 1250
PICTURE = Path(__file__).with_name("report.png")


def main(report: Path) -> None:
    halves = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            page.goto(report.absolute().as_uri())
            page.locator("p").first.evaluate("(line) => { line.textContent = 'out/demo'; }")
            page.wait_for_timeout(2000)
            page.screenshot(path=str(PICTURE))
            halves.append(np.asarray(Image.open(PICTURE).convert("RGB")))
        browser.close()
    Image.fromarray(np.concatenate(halves, axis=1)).resize((WIDTH, HEIGHT // 2)).quantize(128).save(
        PICTURE, optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "report.html")
