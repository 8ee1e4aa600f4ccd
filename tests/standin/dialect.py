"""Redshift's SQL said in PostgreSQL's: a tokenizer, and rewrites that work on its tokens only.

Words in strings, quoted identifiers and comments are never taken for keywords.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<space> \s+ | --[^\n]* )
    | (?P<comment> /\* )
    | (?P<string> [eE]'(?:\\.|''|[^'\\])*' | '(?:''|[^'])*' )
    | (?P<quoted> "(?:""|[^"])*" )
    | (?P<dollar> \$(?P<tag>[A-Za-z_]\w*)?\$ .*? \$(?P=tag)\$ | \$\$ .*? \$\$ )
    | (?P<param> \$\d+ )
    | (?P<number> (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<mark> :: | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class SqlError(Exception):
    """An error of the server, as its message, SQLSTATE and detail."""

    def __init__(self, message: str, code: str = "XX000", detail: str = ""):
        super().__init__(message)
        self.message, self.code, self.detail = message, code, detail


# What PostgreSQL knows and Redshift does not.
UNKNOWN = ["on conflict", "distinct on", "lateral", "returning", "filter (", "( values"] + [
    f"{name} (" for name in ("array_agg", "generate_series", "string_agg", "unnest")
]
CONSTRAINTS = {"primary", "unique", "foreign", "constraint"}
IGNORED_SETTINGS = {
    "analyze_threshold_percent",
    "describe_field_name_in_uppercase",
    "enable_case_sensitive_identifier",
    "enable_result_cache_for_session",
    "query_group",
    "wlm_query_slot_count",
}


class Token(NamedTuple):
    """A piece of a statement; space and comments are pieces as well."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """The keyword or mark in lower case; '' for what can't be one."""
        return self.text.lower() if self.kind in ("word", "mark") else ""

    @property
    def value(self) -> str:
        """What a string or an identifier stands for."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"').lower()
        if self.kind == "string":
            return self.text[self.text.index("'") + 1 : -1].replace("''", "'")
        return self.text.lower() if self.kind == "word" else self.text


@lru_cache  # a load says the same statements again and again, and each is asked about five times
def tokenize(sql: str) -> tuple[Token, ...]:
    """Return every piece of a statement, in order: joined, they are the statement."""
    tokens, at = [], 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        kind, end = found.lastgroup, found.end()
        if kind == "tag":
            kind = "dollar"
        if kind == "comment":
            kind, end = "space", _end_of_comment(sql, end)
        tokens.append(Token(kind, sql[at:end]))
        at = end
    return tuple(tokens)


def _end_of_comment(sql: str, at: int) -> int:
    """Return where a comment ends that began before `at`; comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def significant(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens without space, comments and a closing semicolon."""
    found = [token for token in tokens if token.kind != "space"]
    while found and found[-1].text == ";":
        found.pop()
    return found


@lru_cache
def rewrite(sql: str) -> str:
    """Return a statement of Redshift as PostgreSQL takes it; SqlError if Redshift would not."""
    tokens = [_folded(token) for token in tokenize(sql)]
    words = [token.word for token in significant(tokens)]
    for unknown in UNKNOWN:
        if f" {unknown} " in f" {' '.join(words)} ":
            raise SqlError(f'syntax error at or near "{unknown}"', "42601")
    tokens = _rewrite_calls(tokens)
    if words[:1] == ["create"] and "table" in words[:4]:
        tokens = _rewrite_table(tokens)
    if words[:2] == ["create", "user"]:
        null = Token("word", "null")
        tokens = [null if token.word == "disable" else token for token in tokens]
    return "".join(token.text for token in tokens)


def _folded(token: Token) -> Token:
    """Return a quoted identifier in lower case, as Redshift folds it by default."""
    return Token("quoted", token.text.lower()) if token.kind == "quoted" else token


def _rewrite_calls(tokens: list[Token]) -> list[Token]:
    """Quote the date part of datediff, and say varchar(max) in PostgreSQL's words."""
    tokens = list(tokens)
    solid = [index for index, token in enumerate(tokens) if token.kind != "space"]
    for first, second, third, fourth in zip(solid, solid[1:], solid[2:], [*solid[3:], None]):  # noqa: B905
        if tokens[second].text != "(":
            continue
        name, inner = tokens[first].word, tokens[third]
        if name == "datediff" and inner.kind == "word" and tokens[fourth or 0].text == ",":
            tokens[third] = Token("string", f"'{inner.text}'")
        elif name in ("varchar", "nvarchar", "varying") and inner.word == "max":
            tokens[third] = Token("number", "65535")
    return tokens


def _rewrite_table(tokens: list[Token]) -> list[Token]:
    """Drop from a CREATE TABLE what only Redshift knows, and the keys that it does not enforce."""
    query = _at_depth_0(tokens, "as")
    head, tail = significant(tokens[:query]), tokens[query:]
    start = _at_depth_0(head, "(")
    if start < len(head) and head[start - 1].word not in ("distkey", "sortkey"):
        end = _after_group(head, start)
        columns = _rewrite_columns(_split(head[start + 1 : end - 1]))
        head = [*head[:start], *columns, *_without_attributes(head[end:])]
    else:
        head = _without_attributes(head)
    return [Token("space", " ".join(token.text for token in head) + " "), *tail]


def _at_depth_0(tokens: list[Token], word: str) -> int:
    """Return where a word stands outside of parentheses, or the number of tokens."""
    depth = 0
    for index, token in enumerate(tokens):
        if depth == 0 and token.word == word:
            return index
        depth += (token.text == "(") - (token.text == ")")
    return len(tokens)


def _after_group(items: list[Token], at: int) -> int:
    """Return the index after the parenthesis that opens at `at`; `at` itself when none does."""
    depth = 0
    for index in range(at, len(items)):
        depth += (items[index].text == "(") - (items[index].text == ")")
        if depth == 0:
            return index + (index > at)
    return len(items)


def _split(items: list[Token]) -> list[list[Token]]:
    """Return the parts between commas outside of parentheses."""
    parts, at = [], 0
    while at <= len(items):
        end = at + _at_depth_0(items[at:], ",")
        parts.append(items[at:end])
        at = end + 1
    return parts


def _rewrite_columns(parts: list[list[Token]]) -> list[Token]:
    """Return the column list of a CREATE TABLE without its keys, but with what they imply."""
    keys = {
        token.value
        for part in parts
        if part[0].word in CONSTRAINTS and any(token.word == "primary" for token in part)
        for token in part
    }
    columns = [_column(part, keys) for part in parts if part[0].word not in CONSTRAINTS]
    return [Token("space", f"({', '.join(columns)})")]


def _column(part: list[Token], keys: set[str]) -> str:
    """Return one column: its type, a check of its length in bytes, NOT NULL when it is a key."""
    name, *rest = part
    if name.word == "like":
        return " ".join(token.text for token in [*part, Token("word", "including constraints")])
    words = [token.word for token in rest]
    size, rest = _type(rest)
    extra = ""
    if name.value in keys or "primary" in words:
        extra += " not null"
    if size:
        check = f"bytes_{size}_{name.value}".replace('"', "")
        extra += f' constraint "{check}" check (octet_length({name.text}) <= {size})'
    definition = " ".join(token.text for token in _without_attributes(rest))
    return f"{name.text} {definition}{extra}"


def _type(rest: list[Token]) -> tuple[str, list[Token]]:
    """Return the length of a column of varchar, '' for another type, and its definition."""
    length = 2 if [token.word for token in rest[:2]] == ["character", "varying"] else 1
    if rest[0].word not in ("varchar", "nvarchar", "text") and length == 1:
        return "", rest
    end = _after_group(rest, length) if rest[length:] and rest[length].text == "(" else length
    size = rest[length + 1].text if end > length and rest[0].word != "text" else "256"
    return size, [Token("word", f"varchar({size})"), *rest[end:]]


def _without_attributes(items: list[Token]) -> list[Token]:
    """Return the tokens without Redshift's attributes."""
    kept, at = [], 0
    while at < len(items):
        length = _attribute(items, at)
        kept += items[at : at + 1] if not length else []
        at += length or 1
    return kept


def _attribute(items: list[Token], at: int) -> int:
    """Return how many tokens an attribute takes that begins here; 0 when none does."""
    word = items[at].word
    if word in ("compound", "interleaved"):
        return 1 + _attribute(items, at + 1)
    if word in ("diststyle", "encode", "backup"):
        return 2
    following = items[at + 1].word if at + 1 < len(items) else ""
    if word in ("distkey", "sortkey") and following == "auto":
        return 2
    end = at + {"distkey": 1, "sortkey": 1, "unique": 1, "primary": 2, "references": 2}.get(word, 0)
    while word == "references" and [token.text for token in items[end : end + 1]] == ["."]:
        end += 2
    return _after_group(items, end) - at if end > at and end < len(items) else end - at
