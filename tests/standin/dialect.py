"""Redshift's SQL said in PostgreSQL's, as far as lib/sql uses what only Redshift knows."""

from __future__ import annotations

import re
from functools import lru_cache

# Strings, quoted identifiers and comments, in which no word is a keyword.
QUOTED = re.compile(r"""('(?:''|[^'])*'|"[^"]*"|\$\$.*?\$\$|--[^\n]*|/\*.*?\*/)""", re.DOTALL)
# What PostgreSQL knows and Redshift does not.
UNKNOWN = re.compile(
    r"\b(on\s+conflict|distinct\s+on|lateral|returning|filter\s*\(|"
    r"(?:array_agg|generate_series|string_agg|unnest)\s*\()|\(\s*values\b",
    re.IGNORECASE,
)
REWRITES = (  # what only Redshift knows, in PostgreSQL's words
    (r"(?i)\bdatediff\s*\(\s*(\w+)\s*,", r"datediff('\1',"),
    (r"(?i)\bdiststyle\s+auto(\s+sortkey\s*\([^)]*\))?", ""),
    (r"(?i)^(\s*create\s+user\s.*\spassword\s+)disable", r"\1null"),
    (r"(?i)\(\s*like\s+([\w.]+)\s*\)", r"(like \1 including constraints)"),
)
MEASURED = (  # a column of a table, a line each: its text is measured in bytes
    r"(?im)^(\s*(\w+)\s+varchar\s*\(\s*(\d+)\s*\))",
    r"\1 constraint bytes_\3_\2 check (octet_length(\2) <= \3)",
)


class SqlError(Exception):
    """An error of the server, as its message, SQLSTATE and detail."""

    def __init__(self, message: str, code: str = "XX000", detail: str = ""):
        super().__init__(message)
        self.message, self.code, self.detail = message, code, detail


def is_copy(sql: str) -> bool:
    """Whether a statement is a COPY."""
    return QUOTED.sub("", sql).lstrip().lower().startswith("copy ")


@lru_cache
def rewrite(sql: str) -> str:
    """Return a statement of Redshift as PostgreSQL takes it; SqlError if Redshift would not."""
    parts = QUOTED.split(sql)
    plain = " '' ".join(parts[::2])
    if unknown := UNKNOWN.search(plain):
        raise SqlError(f'syntax error at or near "{unknown[0]}"', "42601")
    is_table = re.match(r"(?i)\s*create\s+(temporary\s+)?table\b", plain)
    for at in range(0, len(parts), 2):
        for pattern, new in (*REWRITES, *([MEASURED] if is_table else [])):
            parts[at] = re.sub(pattern, new, parts[at])
    return "".join(parts)
