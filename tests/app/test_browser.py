"""The page in a real browser: drop, wait, download, decode; and what it says of a bad file."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FRAMES = 12


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[Any]:
    """A headless Chromium with a camera that shows a test picture."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="driving a browser needs the package selenium")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with its chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    wanted = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1280,1000")
    camera = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
    for argument in (*wanted, *camera):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": os.fspath(downloads)})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser: Any, served: Any) -> Any:
    browser.get(served.url)
    wait(lambda: found(browser, "#clip video") and found(browser, "#picture img"))
    return browser


def wait(for_what: Callable[[], Any], seconds: float = 60) -> Any:
    """What it gives as soon as that is something."""
    end = time.monotonic() + seconds
    while not (value := for_what()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
    return value


def found(page: Any, selector: str) -> list[Any]:
    elements: list[Any] = page.find_elements("css selector", selector)
    return elements


def press(page: Any, selector: str) -> None:
    page.execute_script("arguments[0].click()", found(page, selector)[0])


def drop(page: Any, place: str, path: Path) -> None:
    """Put a file where another one was."""
    before = {element.get_attribute("src") for element in found(page, f"{place} img, {place} video")}
    if not found(page, f"{place} input[type=file]"):
        press(page, f"{place} button[aria-label=Clear]")
    wait(lambda: found(page, f"{place} input[type=file]"))[0].send_keys(os.fspath(path))

    def another() -> bool:
        shown = {element.get_attribute("src") for element in found(page, f"{place} img, {place} video")}
        return bool(shown - before)

    wait(another)


def status(page: Any) -> str:
    text: str = found(page, "#status")[0].text
    return text


def test_a_picture_and_a_clip_become_a_video_to_download(
    page: Any, downloads: Path, demo_picture: Path, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    drop(page, "#picture", Path(shutil.copy(demo_picture, tmp_path / "mine.png")))
    drop(page, "#clip", make_clip(tmp_path / "mine.mp4", FRAMES))
    press(page, "#animate")
    wait(lambda: f"{FRAMES} frames in" in status(page))
    for shown, width in (("#result video", 256), ("#masks video", 1024)):
        video = wait(lambda shown=shown: found(page, shown))[0]
        wait(lambda video=video: page.execute_script("return arguments[0].videoWidth", video))
        assert page.execute_script("return arguments[0].videoWidth", video) == width
    press(page, "#download")
    (path,) = wait(lambda: list(downloads.glob("*.mp4")))
    with av.open(os.fspath(path)) as video:
        sizes = [(frame.width, frame.height) for frame in video.decode(video=0)]
    assert sizes == [(256, 256)] * FRAMES


def test_a_bad_file_gives_a_message_and_the_page_lives_on(
    page: Any, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture\n" * 100)
    drop(page, "#picture", bad)
    press(page, "#animate")
    wait(lambda: "bad.png: not a picture" in status(page))
    assert found(page, "#status [role=alert]") and not found(page, "#result video")
    press(page, "#demo")
    wait(lambda: "source.png" in (found(page, "#picture img") or [page])[0].get_attribute("src"))
    drop(page, "#clip", make_clip(tmp_path / "long.mp4", 31))
    press(page, "#animate")
    wait(lambda: "long.mp4: a clip of 3.1 s; expected at most 3 s" in status(page))
    drop(page, "#clip", make_clip(tmp_path / "fine.mp4", 3))
    press(page, "#animate")
    wait(lambda: "3 frames in" in status(page))


def test_the_camera_is_animated(page: Any) -> None:
    tab = next(button for button in found(page, "button[role=tab]") if button.text == "Camera")
    tab.click()
    wait(lambda: found(page, "#seen .empty"))
    wait(lambda: [button for button in found(page, "#camera button") if "Webcam" in button.text])[0].click()
    wait(lambda: [button for button in found(page, "#camera button") if "Record" in button.text])[0].click()
    first = wait(lambda: found(page, "#seen img"))[0].get_attribute("src")
    assert first.startswith("data:image/jpeg;base64,")
    wait(lambda: (found(page, "#seen img") or [page])[0].get_attribute("src") != first)
    assert "ms from" in found(page, "#camera-status")[0].text


def test_nothing_was_asked_of_any_other_machine(browser: Any, served: Any) -> None:
    """Last: of all that the browser was asked to load for the tests above."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [entry["params"]["request"]["url"] for entry in messages if entry["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith(served.url) for url in sent)
    assert not [url for url in sent if not url.startswith((served.url, "data:", "blob:", "chrome"))]
