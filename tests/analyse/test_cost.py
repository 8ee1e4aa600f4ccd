"""What the page on cost says can be counted here, and is so."""

import gzip
import json
import re
from contextlib import chdir
from pathlib import Path

import duckdb
import matplotlib.pyplot as plt
import pytest
from IPython.core.interactiveshell import InteractiveShell

from lib import ROOT, sample

PAGE = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
COUNTED = r"^\| (.+?) \| (\d+) \| (\d+) \|$"
SAID = {what: (int(ours), int(trips)) for what, ours, trips in re.findall(COUNTED, PAGE, re.M)}


@pytest.fixture
def as_said(double):
    """Do something; the statements and round trips that it takes are those of the page."""

    def check(what: str, do) -> None:
        before = len(double.redshift.statements), double.redshift.round_trips
        do()
        now = len(double.redshift.statements), double.redshift.round_trips
        took = tuple(after - then for after, then in zip(now, before, strict=True))
        words = f"{what} takes {took} statements and round trips, docs/cost.md says {SAID[what]}"
        assert took <= SAID[what], f"{words}; ask less often"
        assert took >= SAID[what], f"{words}; lower the figures there"

    return check


def analyse(world, monkeypatch) -> None:
    """Run the cells of 04_analyse on a world; what they draw is not kept."""
    monkeypatch.setattr("lib.analyse.charts.finish", lambda figure, **_: plt.close("all"))
    own = world.folder / "dwh.cfg"
    own.write_text(f"[DWH]\nTARGET = redshift\n[DB]\nNAME = {world.name}\n")
    notebook = json.loads((ROOT / "notebooks" / "04_analyse.ipynb").read_text())
    codes = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    shell = InteractiveShell.instance()
    for code in [codes[0], f"config, target = {str(own)!r}, 'redshift'", *codes[1:]]:
        shell.run_cell(code).raise_error()
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("scale", [0.05, 0.15])
def test_statements_and_round_trips_are_those_of_the_page_whatever_the_amount_of_data(
    new_world, tmp_path, monkeypatch, as_said, scale
):
    sample.make(tmp_path / "data", scale=scale, songs=int(800 * scale))
    last = max((tmp_path / "data" / "log_data").rglob("*.json"))
    later = last.rename(tmp_path / "later.json")
    world = new_world(tmp_path / "data", "redshift", s3=True)
    as_said("a first load", world.load)
    later.rename(last)
    as_said("a load of one more day", world.load)
    as_said("a load with nothing new", world.load)
    as_said("04_analyse", lambda: analyse(world, monkeypatch))
    world.close()


def test_the_page_has_the_prices_of_the_nodes():
    prices = json.loads((ROOT / "lib" / "provision" / "prices.json").read_text())
    shown = dict(re.findall(r"^\| `(\w+\.\w+)` \|.*\| \$([\d.]+) \|$", PAGE, re.M))
    assert {node: float(price) for node, price in shown.items()} == prices["usd_per_node_hour"]
    assert f"${prices['usd_per_gb_month']} a GB and month" in PAGE


# Small files


def pack(folder: Path) -> Path:
    """Pack a folder's JSON files by the recipe of the page; return the folder beside it."""
    recipe = re.search(r"```sql\n(.+?)```", PAGE, re.DOTALL)[1]
    with chdir(folder.parent):
        duckdb.connect().execute(recipe.replace("song_data", folder.name))
    return folder.with_name(f"{folder.name}_packed")


def test_records_are_packed_as_they_are_written_whatever_the_layout(tmp_path, write):
    one = '{"title": "311", "n": 1.10, "big": 123456789012345678901234567890, "e": 1E5, "n": 2}'
    other = (
        '{"e": "1E5",  "title": 311, "text": "\\u00c4 Ä \\\\n,\\t\\"\u2028", "more": [{}, null]}'
    )
    pretty = [record.replace(", ", ",\r\n ").replace("{", "{\n") for record in (one, other)]
    texts = {
        "lines": f"{one}\n{other}\n",
        "crlf": f"{one}\r\n{other}\r\n",
        "on_a_line": f"{one}{other}",
        "blank_lines": f"\n \n{one}\n\n{other}",
        "bom": f"\ufeff{one}\n{other}",
        "pretty": "\n".join(pretty),
    }
    for name, text in texts.items():
        write(tmp_path / "logs" / "2018" / f"{name}.json", text.encode())
        write(tmp_path / "logs" / f".{name}.json", b"{oops}")
    packed = pack(tmp_path / "logs").glob("*.json.gz")
    lines = "".join(gzip.decompress(file.read_bytes()).decode() for file in packed).split("\n")
    on_one_line = [record.replace("\r", " ").replace("\n", " ") for record in pretty]
    assert sorted(lines) == sorted([*5 * [one, other], *on_one_line, ""])
    with pytest.raises(duckdb.IOException, match="not empty"):
        pack(tmp_path / "logs")
