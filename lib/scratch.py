"""Scratch folders that carry their process's id, so that the next process clears what is left.

Nobody else can read them. What a killed process could not remove, the next one of the same user
removes before it makes a scratch folder in the same place.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from zlib import crc32

HOST = f"{crc32(platform.node().encode()):08x}"  # an id tells nothing of another machine's process
NAME = re.compile(rf"\.?sparkify-(\d{{1,7}})-{HOST}-\w+")


@contextmanager
def make_folder(parent: Path | None = None) -> Iterator[Path]:
    """Give a private scratch folder, which is removed at the end.

    `parent`: where it is made, hidden; None: in the folder for temporary files.
    """
    _clear_folders(parent or gettempdir())
    prefix = f"{'.' if parent else ''}sparkify-{os.getpid()}-{HOST}-"
    with TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _clear_folders(parent: str | Path) -> None:
    """Remove the scratch folders of this user's processes that no longer run."""
    if os.name == "nt":  # asking there whether a process runs would end it
        return
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            named = NAME.fullmatch(entry.name)
            if not named or not entry.is_dir(follow_symlinks=False):
                continue
            is_own = entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            if is_own and not _is_running(int(named[1])):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
