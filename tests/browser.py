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
