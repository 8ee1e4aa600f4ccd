"""The small module that the notebooks call: configuration, source, warehouse, load, charts."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class UserError(Exception):
    """Something a person can put right; its message says what happened, where, what to do."""

    def _render_traceback_(self) -> list[str]:
        """Show the sentence alone in a notebook, as IPython asks an exception to do."""
        return [f"{type(self).__name__}: {self}"]


class SourceError(UserError):
    """A folder, file or object that can't be used."""
