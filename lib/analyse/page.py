"""What the project's pages share: a style, a script that sorts tables, and a policy that lets no
other script run and nothing be fetched."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")


def parts() -> dict[str, str]:
    """Return what a page's head holds, by name: policy, style, script."""
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    return {"policy": policy, "style": style, "script": script}


def write(html: str, to: Path) -> Path:
    """Write a page, whole or not at all."""
    to.parent.mkdir(parents=True, exist_ok=True)
    draft = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        draft.write_text(html, encoding="utf-8", errors="replace", newline="\n")
        os.replace(draft, to)
    finally:
        draft.unlink(missing_ok=True)
    return to
