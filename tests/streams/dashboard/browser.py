"""A real Chromium on the page. Its methods block: call them by `asyncio.to_thread`."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

T = TypeVar("T")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
DESKTOP, PHONE = (1280, 1000), (390, 844)
_PATIENCE_SECONDS = 40


class Browser:
    """One window, that reaches this machine only."""

    def __init__(self) -> None:
        assert CHROMIUM
        assert DRIVER
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.set_script_timeout(_PATIENCE_SECONDS)

    def quit(self) -> None:
        """Close it."""
        self.driver.quit()

    def look(self, size: tuple[int, int] = DESKTOP, scheme: Literal["light", "dark"] = "light", scale: int = 1) -> None:
        """Have a window of this size, and this preference."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": scale, "mobile": size[0] < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, url: str) -> None:
        """Go to a page of which nothing is known yet; what was logged before is forgotten."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        for kind in ("browser", "performance"):
            self._log(kind)
        self.driver.get(url)
        self.until(lambda: self.run("return document.querySelectorAll('.panel').length > 10"))

    def until(self, condition: Callable[[], T]) -> T:
        """What a condition gives, once that is something."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                if found := condition():
                    return found
            except StaleElementReferenceException:
                pass
            assert time.monotonic() < deadline, self.run("return document.body.innerText")
            time.sleep(0.05)

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        """The first element, once it is there."""
        elements = self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector))
        return elements[0]

    def follow(self, selector: str) -> str:
        """Click on the first element that is not replaced meanwhile by a newer answer, and give its text."""

        def click() -> str:
            element = self.find(selector)
            text = element.text
            element.click()
            return text

        return self.until(click)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option."""
        Select(self.find(selector)).select_by_value(value)

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def answered(self, panel: str) -> WebElement:
        """A panel, scrolled to and drawn from an answer."""
        section = self.find(f"#panel-{panel}")
        self.run("arguments[0].scrollIntoView({block: 'center'})", section)
        self.until(lambda: " ms" in section.find_element(By.CSS_SELECTOR, ".foot").text)
        return section

    def rows(self, panel: str) -> list[list[str]]:
        """The cells of a panel's table as they are read, after all of it is shown."""
        section = self.answered(panel)
        self.run("arguments[0].querySelector('button[aria-expanded=false]')?.click()", section)
        cells = (
            "return [...arguments[0].querySelectorAll('tbody tr')]"
            ".map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
        )
        found: list[list[str]] = self.run(cells, section)
        return found

    def tiles(self, panel: str, label: str, value: str) -> dict[str, str]:
        """Numbers of a panel that has no table, by their labels."""
        section = self.answered(panel)
        script = (
            "return Object.fromEntries([...arguments[0].querySelectorAll(arguments[1])].map((each, place) => "
            "[each.innerText, arguments[0].querySelectorAll(arguments[2])[place].innerText]))"
        )
        found: dict[str, str] = self.run(script, section, label, value)
        return found

    def complaints(self) -> list[str]:
        """What the console says, and requests to other hosts."""
        said = [f"{entry['level']}: {entry['message']}" for entry in self._log("browser")]
        for entry in self._log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                if url.scheme not in ("data", "about") and url.hostname not in ("127.0.0.1", "localhost"):
                    said.append(f"request to {url.geturl()}")
        return said

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.driver.get_log(kind))  # type: ignore[no-untyped-call]

    def shot(self, path: Path) -> None:
        """Keep a picture of what is in the window."""
        self.driver.save_screenshot(str(path))


TAB, ENTER, ESCAPE = Keys.TAB, Keys.ENTER, Keys.ESCAPE
