"""Pictures of what Prefect shows of a run, taken by headless Chromium:

    python tests/flows/pictures.py http://127.0.0.1:4200 RUN_ID pictures/

The browser resolves no name, since Prefect's pages ask a telemetry service for its configuration, whatever the server
is told.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 30.0
PAUSE = 1.5  # seconds until what moves on a page has come to rest


def available() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--window-size=1400,1700",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def pages(url: str, run: str) -> dict[str, tuple[str, str]]:
    """Name of each page of a run -> (its address, a word that it shows once it is there)."""
    addresses = {
        "run-logs": (f"/runs/flow-run/{run}?tab=Logs", "Finished in state"),
        "run-tasks": (f"/runs/flow-run/{run}?tab=TaskRuns", "Task run"),
        "run-artifacts": (f"/runs/flow-run/{run}?tab=Artifacts", "step-"),
    }
    for artifact in _ask(f"{url}/api/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}}):
        addresses[artifact["key"]] = (f"/artifacts/artifact/{artifact['id']}", artifact["key"])
    deployment = _ask(f"{url}/api/flow_runs/{run}")["deployment_id"]
    if deployment:
        addresses["form"] = (f"/deployments/deployment/{deployment}/run", "Parameters")
    return {name: (f"{url}/v2{place}", word) for name, (place, word) in addresses.items()}


def take(url: str, run: str, folder: Path) -> dict[str, str]:
    """Save a PNG of each page of a run, and return the text that is to be read on it."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {}
    with browser() as driver:
        for name, (address, word) in pages(url, run).items():
            driver.get(address)
            WebDriverWait(driver, SECONDS).until(lambda driver, word=word: word in _text(driver))
            time.sleep(PAUSE)
            texts[name] = _text(driver)
            driver.save_screenshot(str(folder / f"{name}.png"))
    return texts


def _text(driver: webdriver.Chrome) -> str:
    return driver.find_element(By.TAG_NAME, "body").text


def _ask(address: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


if __name__ == "__main__":
    take(sys.argv[1].rstrip("/"), sys.argv[2], Path(sys.argv[3]))
