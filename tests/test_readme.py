"""The README says what is so: the codebook, the settings, the options, the files it names."""

import re
from calendar import day_name

import pytest

from lib import ROOT, config, load, run, sample, warehouse
from lib.load import star

ROWS = r"^\| `(\w+)` \| \w+ \| \S.* \|$"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def codebook() -> dict[str, list[str]]:
    book = README.split("### Codebook")[1].split("\n## ")[0]
    tables = re.split(r"^\*\*`(\w+)`\*\*", book, flags=re.MULTILINE)[1:]
    pairs = zip(tables[::2], tables[1::2], strict=True)
    return {table: re.findall(ROWS, text, re.MULTILINE) for table, text in pairs}


def test_the_codebooks_have_every_column_of_every_table_and_of_plays_in_order(tmp_path):
    settings = config.read_settings(environ={}, database=str(tmp_path / "book.duckdb"))
    opened = warehouse.connect(settings, create=True)
    opened.create_schema()
    columns = {
        table: [name for (name, *_) in opened.raw.execute(f"describe {table}").fetchall()]
        for table in (*warehouse.base.TABLES, "plays")
    }
    opened.close()
    page = (ROOT / "docs" / "bi.md").read_text(encoding="utf-8")
    assert re.findall(ROWS, page, re.MULTILINE) == columns.pop("plays")
    assert codebook() == columns


def test_every_option_it_names_exists():
    known = {name for action in run.make_parser()._actions for name in action.option_strings}
    for command in re.findall(r"python -m lib\.run (.*)", README):
        options = set(re.findall(r"(?<!\S)--?[a-z-]+", command.split("#")[0]))
        assert options <= known, command


def test_every_target_of_make_it_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", README)) <= targets


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
def test_every_file_and_heading_that_a_page_links_to_exists(page):
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        assert "://" in target or (page.parent / file).exists() if file else anchor in anchors


def test_the_findings_are_those_of_the_sample(tmp_path):
    made = sample.make(tmp_path / "sample")
    places = {name: str(tmp_path / "sample" / name) for name in ("log_data", "song_data")}
    settings = config.read_settings(environ={}, database=str(tmp_path / "sample.duckdb"), **places)
    opened = warehouse.connect(settings, create=True)
    opened.create_schema()
    loaded = load.load(opened, settings)
    hours, active = opened.analysis("plays_by_hour"), opened.analysis("active_users")
    changes, levels = opened.analysis("level_changes"), opened.analysis("level_by_day")
    opened.close()
    peak = hours.loc[hours["plays_per_day"].idxmax()]
    weekday, hour = int(peak["weekday"]), int(peak["hour"])
    paid = levels.loc[levels["level"] == "paid", "plays"].sum() / made["plays"]
    assert re.findall(r"^- (.*)", README.split("## Two commands")[0], re.MULTILINE) == [
        f"**{loaded.coverage:.1%}** of {made['plays']:,} plays match a song in the catalogue; "
        "the others are kept, with title and artist as text.",
        f"The busiest hour of the week is **{day_name[weekday - 1]} at {hour:02}:00** UTC, "
        f"with {peak['plays_per_day']:.1f} plays a day.",
        f"**{paid:.1%}** of the plays were made while paid.",
        f"**{changes['upgrades'].sum()}** upgrades to paid stand against "
        f"**{changes['downgrades'].sum()}** downgrades to free in {len(changes)} days.",
        f"**{active['daily'].mean():.0f}** users are active on an average day, "
        f"**{active['daily'].max()}** at most.",
    ]


def test_every_test_that_the_page_on_loads_names_is_there():
    page = (ROOT / "docs" / "load.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)::(\w+)…?`", page)
    assert len(named) > 20
    for module, start in named:
        (file,) = (ROOT / "tests").rglob(f"{module}.py")
        code = file.read_text(encoding="utf-8")
        assert f"\ndef test_{start}" in code, f"{module}::{start}"


def test_the_page_on_loads_names_every_audit():
    page = (ROOT / "docs" / "load.md").read_text(encoding="utf-8")
    audits = {file.stem for file in (ROOT / "lib" / "sql" / "audit").iterdir()}
    assert audits == set(star.STAGE_AUDITS + star.STAR_AUDITS)
    assert all(f"`{audit}`" in page for audit in audits)
