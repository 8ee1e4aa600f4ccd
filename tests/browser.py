"""The installed Chromium, driven by Playwright, whose own browser need not be downloaded."""

import re
import shutil
from contextlib import contextmanager

import pytest

from lib import ROOT

NAMES = re.search(r"^CHROME := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


@contextmanager
def chromium():
    """Start a headless Chromium (a Playwright `Browser`); skip the test where none is installed."""
    if not (path := next(filter(None, map(shutil.which, NAMES)), None)):
        pytest.skip("No Chromium or Chrome is installed here; install one to look at pages.")
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as player,
        player.chromium.launch(executable_path=path) as browser,
    ):
        yield browser


def faults(page) -> list[str]:
    """Return what axe-core, its best practices included, finds wrong with a page: a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {node['html']}" for fault in found for node in fault["nodes"]]
