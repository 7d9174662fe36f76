"""The report in a browser without a network: it draws, in light and in dark, and complains of nothing.

With MNEMIC_PICTURES=FOLDER in the environment the pictures are kept there.
"""

import os
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from mnemic.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium")


def photographed(page: Path, picture: Path, dark: bool, profile: Path) -> str:
    """What Chromium says while it draws ``page`` into ``picture``."""
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    network = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", "--window-size=900,3000"]
    command = [str(CHROMIUM), *arguments, *network, *scheme, f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert picture.exists(), done.stderr[-2000:]
    return done.stderr


def first_pixel(picture: Path) -> tuple[int, int, int]:
    """The colour of the corner of a PNG of 8 bits a channel."""
    data = picture.read_bytes()
    chunks, place = b"", 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        chunks += data[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
    red, green, blue = zlib.decompressobj().decompress(chunks, 4)[1:4]  # of the first pixel no filter changes anything
    return red, green, blue


def test_it_is_drawn_in_light_and_in_dark(tiny, tmp_path) -> None:
    folder = Path(os.environ.get("MNEMIC_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page = tmp_path / "report.html"
    page.write_text(report(tiny.open()), encoding="utf-8")
    corners = {}
    for name, dark in (("light", False), ("dark", True)):
        picture = folder / f"report-{name}.png"
        words = photographed(page, picture, dark, tmp_path / f"profile-{name}")
        assert not re.search(r"CONSOLE|Refused to", words), words
        assert picture.stat().st_size > 40_000, "figures and text are on it"
        corners[name] = sum(first_pixel(picture))
    assert corners["light"] == 3 * 255 and corners["dark"] < 150
