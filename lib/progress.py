"""A progress bar, for what takes a while: in a terminal, in a notebook's cell, or none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Cell:
    """The output of a notebook's cell as a file, of which the last line alone is kept."""

    def __init__(self):
        from IPython.display import display

        self._shown = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        """Show a line in place of the one before."""
        if text.strip():
            self._shown.update({"text/plain": text.strip()}, raw=True)

    def flush(self) -> None:
        """Do nothing: a line is shown at once."""


@contextmanager
def bar(size: int, label: str, unit: str = "B") -> Iterator:
    """Show a progress bar of so many bytes, or of what `unit` says, in a terminal or a notebook;
    elsewhere, and without a label, none."""
    from tqdm import tqdm

    ipython = sys.modules.get("IPython")
    kernel = label and getattr(ipython and ipython.get_ipython(), "kernel", None)
    cell = _Cell() if kernel else None
    look = {"desc": label, "unit": unit, "unit_scale": True, "miniters": 1, "leave": False}
    with tqdm(total=size, file=cell, disable=None if label else True, **look) as shown:
        yield shown
    if cell:
        cell.write(f"{label}: {tqdm.format_sizeof(size, unit)}")
