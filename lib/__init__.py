"""The small module that the notebooks call: configuration, source, warehouse, load, charts."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def shorten_path(path: Path) -> str:
    """Return `path` relative to the project's folder when it is below that, else whole."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def escape_text(text: str) -> str:
    """Return a text that can't steer a terminal: what can't be printed, except line breaks and
    tabs, as Python would write it."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1]
        for letter in text
    )


class UserError(Exception):
    """Something a person can put right; its message says what happened, where, what to do."""

    def __str__(self) -> str:
        return escape_text(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """Show the sentence alone in a notebook, as IPython asks an exception to do."""
        return [f"{type(self).__name__}: {self}"]


class SourceError(UserError):
    """A folder, file or object that can't be used."""
