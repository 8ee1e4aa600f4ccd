"""The house stays small: how long files and functions may be, and which room may import which."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from lib import ROOT

LIB = ROOT / "lib"
FILES = sorted(LIB.rglob("*.py"))
LINES = 5200  # of Python in lib
# Each room imports its own files and lower rooms only.
FLOORS = (("run",), ("provision", "analyse"), ("load",), ("warehouse",))
