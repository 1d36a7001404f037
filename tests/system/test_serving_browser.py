"""The web page in a real browser: Debian's Chromium, without a window."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from tests.sounds import RATE, buzz

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--hide-scrollbars",
]  # fmt: skip
FILE, ANSWER = "#voice input[type=file]", "#answer"
OWN = {"chrome", "chrome-untrusted", "data", "blob", "about"}  # addresses that never leave the browser


@pytest.fixture(scope="module")
def programs() -> tuple[str, str]:
    """The browser and its driver; without them, or what drives them, the tests are skipped."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    for name, path in zip(("chromium", "chromium-driver"), found, strict=True):
        if not path:
            pytest.skip(f"{name} is not installed: apt-get install {name}")
    for name in ("gradio", "selenium"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install -c constraints.txt -e '.[dev]'")
    return found


@pytest.fixture(scope="module")
def page(tiny_bundle: Path) -> Iterator[str]:
    """The address of the page, from the command itself."""
    script = "import sys; from pipeline.cli.main import main; main(sys.argv[1:])"
    words = ["serve", "--model", str(tiny_bundle), "--port", "0", "--max-mb", "1", "--max-seconds", "30"]
    child = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    yield child.stdout.readline().split()[0]
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)


class Browser:
    """A browser at the page."""

    def __init__(self, programs: tuple[str, str], profile: Path, address: str, width: int) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = programs[0]
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},900"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        if width < 500:  # no window is narrower
            metrics = {"width": width, "height": 900, "pixelRatio": 1.0}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        self.driver = webdriver.Chrome(options=options, service=Service(programs[1]))
        self.address, self.width = address, width
        self.open()

    def open(self) -> None:
        self.driver.get(self.address)
        self.wait(lambda: self.all(FILE) and self.all(".gallery-item"))

    def wait(self, condition: Any, seconds: float = 60) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds).until(lambda _: condition())

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str = ANSWER) -> str:
        return self.driver.execute_script(f"return document.querySelector({selector!r})?.innerText ?? ''")

    def widest(self) -> int:
        return int(self.driver.execute_script("return document.documentElement.scrollWidth"))

    def upload(self, path: Path) -> None:
        self.all(FILE)[0].send_keys(str(path))

    def hosts(self) -> set[str]:
        """Where requests went since this was asked last."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in urls if urlsplit(url).scheme not in OWN}


@pytest.fixture(params=[1280, 390], ids=["desktop", "phone"])
def browser(request: pytest.FixtureRequest, programs: tuple[str, str], page: str, tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(programs, tmp_path / "profile", page, request.param)
    yield opened
    opened.driver.quit()


def clip(path: Path, seconds: float) -> Path:
    soundfile.write(path, buzz(seconds), RATE)
    return path


def test_a_clip_gets_an_answer_with_bars_and_a_picture(browser, tmp_path):
    browser.upload(clip(tmp_path / "<i>voice.wav", 2))
    browser.wait(lambda: browser.all(f"{ANSWER} .ser-bars li"))
    bars = [bar.text.split() for bar in browser.all(f"{ANSWER} .ser-bars li")]
    shares = [int(words[-2]) for words in bars if "<" not in words]
    assert sorted(words[0] for words in bars) == ["angry", "happy", "neutral", "sad"]
    assert shares == sorted(shares, reverse=True)
    assert 97 <= sum(shares) <= 102
    assert browser.text(".ser-verdict span") == bars[0][0]
    assert (
        browser.driver.execute_script("const i = document.querySelector('#answer img'); return i.naturalWidth") == 800
    )
    assert "DEMO: synthetic speech" in browser.text(".ser-stamp")
    assert "acted" in browser.text("#limits")
    assert browser.widest() <= browser.width
    assert browser.hosts() == {urlsplit(browser.address).netloc}
    picture = tmp_path / "page.png"
    assert browser.driver.save_screenshot(str(picture))
    assert picture.stat().st_size > 20_000


def test_bad_uploads_get_a_sentence_and_the_next_an_answer(browser, tmp_path):
    text, empty, long = (tmp_path / f"{name}.wav" for name in ("text", "empty", "long"))
    text.write_text("no sound at all")
    empty.touch()
    soundfile.write(long, np.zeros(31 * 8000), 8000)
    for path, words in ((text, "is no audio"), (empty, "has no bytes"), (long, "the limit is 30 s")):
        browser.open()
        browser.upload(path)
        browser.wait(lambda: browser.all(".ser-error"))
        assert f"{path.name} " in browser.text(".ser-error")
        assert words in browser.text(".ser-error")
        assert "Traceback" not in browser.text("body")
    large = tmp_path / "large.wav"
    soundfile.write(large, np.zeros(700_000), 48_000)
    browser.open()
    browser.upload(large)
    browser.wait(lambda: "maximum allowed size" in browser.text("body"))
    browser.open()
    browser.upload(clip(tmp_path / "good.wav", 1))
    browser.wait(lambda: browser.all(".ser-bars"))


def test_an_example_works_at_one_click_and_a_long_one_has_a_timeline(browser):
    *_, long = browser.all(".gallery-item")
    long.click()
    browser.wait(lambda: browser.all(".ser-bars"))
    assert "windows as a table" in browser.text()
    assert len(browser.all("#answer tr")) > 10
    for _ in range(30):  # the player draws its wave again and again, and must not push the page apart
        assert browser.widest() <= browser.width
        time.sleep(0.1)
    assert browser.hosts() == {urlsplit(browser.address).netloc}


def test_a_recording_from_the_microphone_gets_an_answer(browser):
    browser.wait(lambda: browser.all("#voice button[aria-label='Record audio']"))[0].click()
    browser.wait(lambda: browser.all("#voice .record-button"))[0].click()
    browser.wait(lambda: browser.all("#voice .stop-button"))
    browser.driver.execute_async_script("setTimeout(arguments[0], 2500)")
    next(button for button in browser.all("#voice .stop-button") if button.is_displayed()).click()
    browser.wait(lambda: browser.all(".ser-verdict"))
    assert "No prediction" not in browser.text()
