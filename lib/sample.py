"""The sample: Sparkify app events and song metadata in the real format, made once, removed whole.

All of it is invented, by lib/generator.py: no person, artist, song or play in it is real.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lib import UserError, generator
from lib.scratch import make_folder

VERSION = 1  # raise it whenever the bytes change
MARKER, PARTS, MADE_BY = "sample.json", ("log_data", "song_data"), "lib.sample"
FINDERS = ".DS_Store"  # macOS leaves one in each folder it shows
NOTE = "Invented data in the Sparkify format: no person, artist, song or play in it is real."


def make(
    folder: Path, scale: float = 1, seed: int = 1, songs: int = 15_000, matched: float = 0.05
) -> dict:
    """Write the sample below `folder` (log_data/, song_data/) unless it is there already.

    `scale`: 1 is about 8,000 events of 100 users in 30 days; more scale is more users.
    `seed`: another one gives other people, songs and plays.
    `songs`: song records in the catalogue.
    `matched`: share of plays, 0 to 1, whose title and artist are in the catalogue.
    Returns the counts `events`, `plays`, `songs`, `users`, `files`, and `made`: whether it wrote.
    """
    if not (0 < scale < math.inf and songs > 0 and 0 <= matched <= 1):
        raise UserError("scale and songs must be above 0, and matched a share from 0 to 1.")
    folder = Path(folder).resolve()
    asked = {"scale": float(scale), "seed": seed, "songs": songs, "matched": float(matched)}
    try:
        if counts := _find_counts(folder, asked):
            return counts | {"made": False}
        _check_strays(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with make_folder(folder.parent) as scratch:
            new = scratch / "new"
            counts = generator.write(new, **asked)
            marker = {"note": NOTE, "made_by": MADE_BY, "version": VERSION, "parameters": asked}
            text = json.dumps(marker | {"counts": counts}, indent=2) + "\n"
            (new / MARKER).write_bytes(text.encode())
            if folder.exists():
                folder.rename(scratch / "old")
            new.rename(folder)
        return counts | {"made": True}
    except OSError as error:
        if counts := _find_counts(folder, asked):  # another process has made it meanwhile
            return counts | {"made": False}
        reason = f"The sample can't be written to {folder}: {error.strerror or error}"
        raise UserError(f"{reason}; put that right or name another folder.") from error


def remove(folder: Path) -> None:
    """Delete the sample in `folder`, if there is one; refuse a folder that holds anything else."""
    folder = Path(folder).resolve()
    try:
        _check_strays(folder)
        if has_remains(folder):
            with make_folder(folder.parent) as scratch:  # and what a killed process left is cleared
                if folder.exists():
                    folder.rename(scratch / "old")  # first: nobody ever sees half a sample
                    shutil.rmtree(scratch / "old")
    except OSError as error:
        reason = f"The sample in {folder} can't be removed: {error.strerror or error}"
        raise UserError(f"{reason}; put that right and try again.") from error


def is_whole(folder: Path) -> bool:
    """Tell whether the sample in `folder` has all its files; refuse a folder that is no sample."""
    marker = folder.is_dir() and _read_marker(folder)
    return bool(marker) and _count_files(folder) >= marker["counts"]["files"]


def has_remains(folder: Path) -> bool:
    """Tell whether there is a sample, or a scratch folder that a killed process has left."""
    return os.path.lexists(folder) or any(folder.parent.glob(".sparkify-*"))


def _find_counts(folder: Path, asked: dict) -> dict | None:
    """Return the counts of the sample in `folder` if it is whole and has these parameters."""
    marker = _read_marker(folder) if is_whole(folder) else {}
    is_same = marker.get("parameters") == asked and marker["version"] == VERSION
    return marker["counts"] if is_same else None


def _count_files(folder: Path) -> int:
    names = (name for part in PARTS for *_, names in os.walk(folder / part) for name in names)
    return sum(name != FINDERS for name in names)


def _read_marker(folder: Path) -> dict | None:
    """Return the content of the marker in `folder`; None for an empty folder; refuse any other."""
    if not folder.exists() or not any(folder.iterdir()):
        return None
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if marker["made_by"] == MADE_BY:
            return marker
    what = f"{folder} is not empty and holds no {MARKER} of this project"
    raise UserError(f"{what}; move what is there away or name another folder.")


def _check_strays(folder: Path) -> None:
    """Refuse to delete a folder that holds what the sample did not bring."""
    if not (marker := _read_marker(folder)):
        return
    for name in sorted(set(os.listdir(folder)) - {MARKER, *PARTS, FINDERS}):
        what = f"{folder / name} is not part of the sample and would be deleted with it"
        raise UserError(f"{what}; move it away or name another folder.")
    if (more := _count_files(folder) - marker["counts"]["files"]) > 0:
        what = f"{folder} holds {more:,} files more than the sample has, which would be deleted"
        raise UserError(f"{what} with it; move them away or name another folder.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a sample from the command line; return the exit code."""
    parser = argparse.ArgumentParser("python -m lib.sample", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where log_data/ and song_data/ go")
    parser.add_argument("--scale", type=float, default=1, help="1 (default): about 8,000 events")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other data (1)")
    parser.add_argument("--songs", type=int, default=15_000, help="in the catalogue (15000)")
    parser.add_argument("--matched", type=float, default=0.05, help="share of plays in it (0.05)")
    try:
        counts = make(**vars(parser.parse_args(arguments)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print("{events:,} events ({plays:,} plays), {songs:,} songs, {files:,} files".format(**counts))
    if not counts["made"]:
        print("It was there already.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
