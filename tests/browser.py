"""The installed Chromium, driven by Playwright, whose own browser need not be downloaded."""

from contextlib import contextmanager

import pytest

from lib import pdf


@contextmanager
def chromium():
    """Start a headless Chromium (a Playwright `Browser`); skip the test where none is installed."""
    if not (path := pdf.chromium()):
        pytest.skip("No Chromium or Chrome is installed here; install one to look at pages.")
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as player,
        player.chromium.launch(executable_path=path, args=pdf.options()) as browser,
    ):
        yield browser


def faults(page) -> list[str]:
    """Return what axe-core, its best practices included, finds wrong with a page: a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {node['html']}" for fault in found for node in fault["nodes"]]
