"""Pages in a real browser: headless Chromium, asked what it laid out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
]  # fmt: skip
# What is wider than the window, what has no text alternative, what was fetched or run.
MEASURE = """
<script>
window.addEventListener("load", () => {
  const page = document.getElementById("page").contentDocument;
  const width = page.documentElement.clientWidth;
  const names = (found) => [...found].map((e) => `${e.tagName}.${e.className.baseVal ?? e.className}`);
  const wide = [...page.body.querySelectorAll("*")].filter((e) => {
    const inside = e.closest(".table"), box = e.getBoundingClientRect();
    return (!inside || inside === e) && !e.closest("defs") && (box.right > width + 1 || box.left < -1);
  });
  const svgs = [...page.querySelectorAll("svg")];
  const text = (e) => e.getAttribute("aria-label")
    ?? (e.getAttribute("aria-labelledby") ?? "").split(" ")
      .map((id) => page.getElementById(id)?.textContent ?? "").join(" ");
  const ids = [...page.querySelectorAll("[id]")].map((e) => e.id);
  const layout = {
    width, scrolls: page.documentElement.scrollWidth, wide: names(wide), figures: svgs.length,
    silent: names(svgs.filter((e) => text(e).trim().length < 20)),
    empty: names(svgs.filter((e) => e.getBoundingClientRect().height < 5)),
    twice: ids.filter((id, at) => ids.indexOf(id) !== at),
    scripts: page.scripts.length, paper: getComputedStyle(page.body).backgroundColor,
    ink: getComputedStyle(page.body).color, height: page.documentElement.scrollHeight,
    tables: [...page.querySelectorAll(".table")].filter((e) => e.scrollWidth > e.clientWidth + 1).length,
  };
  const out = document.createElement("pre");
  out.id = "layout";
  out.textContent = JSON.stringify(layout);
  document.body.append(out);
});
</script>
"""


def chromium() -> str:
    """Where the browser is; the test is skipped without one."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    return browser


def run(arguments: list[str], profile: Path) -> str:
    done = subprocess.run(
        [chromium(), *FLAGS, f"--user-data-dir={profile}", *arguments],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def laid_out(page: Path, width: int, folder: Path, dark: bool = False) -> dict[str, Any]:
    """What MEASURE says of `page` in a window `width` pixels wide."""
    # A frame, because Chromium makes no window narrower than 500; its content in srcdoc, because files
    # may not look into one another.
    content = html.escape(page.read_text(), quote=True)
    frame = f'<iframe id="page" style="border:0;width:{width}px;height:900px" srcdoc="{content}"></iframe>'
    holder = folder / "holder.html"
    holder.write_text(f'<!DOCTYPE html><meta charset="utf-8">{frame}{MEASURE}')
    scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    dumped = run(
        [*scheme, "--virtual-time-budget=5000", "--dump-dom", f"file://{holder}"], folder / "profile"
    )
    match = re.search(r'<pre id="layout">(.*?)</pre>', dumped, re.DOTALL)
    assert match, dumped[-500:]
    layout: dict[str, Any] = json.loads(html.unescape(match[1]))
    return layout
