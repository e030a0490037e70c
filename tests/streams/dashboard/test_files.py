"""The page's files: ours, or as their authors made them, and nothing in them loads or runs what is not."""

import re
from hashlib import sha256

import pytest

from tests.generated import ROOT

STATIC = ROOT / "streams/dashboard/static"
OWN = sorted(path.name for path in STATIC.iterdir() if not path.name.startswith("uPlot"))


@pytest.mark.parametrize("name", ["uPlot.js", "uPlot.css"])
def test_what_is_vendored_is_as_it_was(name: str) -> None:
    (checksum,) = re.findall(
        rf"^{re.escape(name)} = .*sha256 ([0-9a-f]{{64}})$", (STATIC / "uPlot.txt").read_text(), re.MULTILINE
    )

    assert sha256((STATIC / name).read_bytes()).hexdigest() == checksum


@pytest.mark.parametrize("name", OWN)
def test_nothing_makes_markup_or_code_of_text(name: str) -> None:
    text = (STATIC / name).read_text()

    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", text
    )
    assert not re.search(r"""(src|href)=["'](https?:)?//""", text)


def test_the_page_has_no_script_and_no_style_of_its_own() -> None:
    text = (STATIC / "index.html").read_text()

    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)
