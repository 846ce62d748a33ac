from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from haste_export.cli.export import command as export_command
from haste_export.cli.report import command
from haste_export.data import sample_file, sample_model
from tests.built import require_library

VOID = {"meta", "img", "link", "br", "input", "line", "rect", "circle", "polyline"}


class Checker(HTMLParser):
    """Finds tags that are not closed in order, and references to anything outside the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.images = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.images += tag == "img"
        self.outside += [
            value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith("data:")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    require_library()


def report(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("report") / "page.html"
    result = report(
        sample_model(), "--data", sample_file(), "--limit", 48, "--hyperplanes", "8,12", "--setting", 8, "-o", target
    )
    assert result.exit_code == 0, result.output
    return target


def test_the_page_is_whole_and_needs_nothing_beside_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.outside == []
    assert checker.images > 6 * 20
    assert page.stat().st_size < 3_000_000
    for needle in ("node_conv2d_6", "FLOPs saved", "stock", "r of every patch", "before", "buckets"):
        assert needle in text


def test_a_compressed_model_with_levels_and_no_data(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("[hyperplanes]\n" + "".join(f'"node_conv2d_{i}" = [14, 9]\n' for i in range(1, 7)))
    out = tmp_path / "levels.onnx"
    exported = CliRunner().invoke(export_command, [str(sample_model()), str(out), "--plan", str(plan)])
    assert exported.exit_code == 0, exported.output
    result = report(out, "--setting", 2)
    assert result.exit_code == 0, result.output
    text = out.with_suffix(".html").read_text(encoding="utf-8")
    assert "level = 2" in text
    assert "synthetic images" in text
    assert "agreement with stock" in text


def test_mistakes_end_with_2(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 1, 28, 28), np.float32))
    data = ("--data", tmp_path / "a.npz")
    for arguments, sentence in (
        ((*data, "--image", 2), "has only 2 samples"),
        ((*data, "--setting", 3), "is none of"),
        ((*data, "-o", tmp_path / "no" / "page.html"), "cannot write"),
    ):
        result = report(sample_model(), *arguments)
        assert result.exit_code == 2
        assert sentence in result.output


@pytest.mark.slow
def test_a_real_browser_draws_it(page: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    # The copy chooses another layer and then writes what is visible into the document's title.
    script = (
        "<script>window.onload=()=>{const c=document.getElementById('layer');c.value='3';"
        "c.dispatchEvent(new Event('change'));"
        "const v=[...document.querySelectorAll('.panel')].filter(p=>p.offsetHeight>0).map(p=>p.id);"
        "const bad=[...document.images].filter(i=>!i.complete||i.naturalWidth===0).length;"
        "const wide=document.documentElement.scrollWidth>document.documentElement.clientWidth;"
        "const cells=[...document.querySelectorAll('#memory tbody tr')].filter(r=>r.offsetHeight>0).length;"
        "const lines=[...document.getElementById('memory').closest('section').querySelectorAll('polyline')]"
        ".filter(l=>l.getBoundingClientRect().width>100).length;"
        "document.title=`shown ${v} broken ${bad} overflow ${wide} memory ${cells} ${lines}`}</script></body>"
    )
    copy = tmp_path / "copy.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,1200", "--virtual-time-budget=4000"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [browser, *flags, profile, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None
    # Six layers and their sum; the lines of "before" and of two settings.
    assert title.group(1) == "shown panel3 broken 0 overflow false memory 7 3"
