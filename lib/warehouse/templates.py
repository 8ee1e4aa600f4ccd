"""Render the SQL templates of lib/sql in the dialect of one engine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from lib import ROOT, UserError

SQL = ROOT / "lib" / "sql"
BOUND = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")


class WarehouseError(UserError):
    """The warehouse can't be opened, or refused a statement."""


@cache
def _templates(dialect: str):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(SQL),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 SQL, not HTML: names come from code, values are bound
    )
    env.filters |= {"snake_case": to_snake_case, "literal": literal}
    env.globals["engine"] = env.get_template(f"dialect/{dialect}.sql").module
    shared = env.get_template("macros.sql").module
    env.globals |= {name: macro for name, macro in vars(shared).items() if callable(macro)}
    return env


def render(name: str, dialect: str, **identifiers) -> list[str]:
    """Render lib/sql/`name`.sql for an engine and return its statements.

    `identifiers`: what the template needs besides the macros; from code, never from data.
    """
    text = _templates(dialect).get_template(f"{name}.sql").render(identifiers)
    return [part.strip() for part in text.split(";\n") if part.strip()]


def to_snake_case(field: str) -> str:
    """Convert the name of a JSON field to the name of its column: firstName to first_name."""
    return re.sub(r"([A-Z])", r"_\1", field).lower()


def name_columns(fields: Iterable[str]) -> list[str]:
    """Return the names of the staging columns for JSON fields, in the same order."""
    return [to_snake_case(field) for field in fields]


def literal(text: str) -> str:
    """Quote a string as an SQL literal, for statements that take no bound values."""
    if "\\" in text or "\0" in text:
        raise WarehouseError(f"{text!r} can't be used in a statement: it contains \\ or NUL.")
    return "'" + text.replace("'", "''") + "'"
