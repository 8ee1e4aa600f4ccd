"""`%%sql` on the open warehouse: the same database, DataFrames, a cap, errors that stop."""

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from lib import config, warehouse
from lib.warehouse import magic
from lib.warehouse.templates import WarehouseError


@pytest.fixture
def shell():
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.fixture
def opened(world, shell):
    magic.activate(world.dwh)
    return world.dwh


def test_a_cell_reads_and_writes_the_database_that_python_has_open(shell, opened):
    shell.run_cell("%%sql\ninsert into songs values ('S1', 'Title', 'A1', 1999, 1.5)")
    assert opened.count_rows()["songs"] == 1
    result = shell.run_cell("%%sql\nselect song_id, year from songs").result
    pd.testing.assert_frame_equal(result, pd.DataFrame({"song_id": ["S1"], "year": [1999]}))


def test_a_python_variable_is_bound_not_pasted(shell, opened):
    shell.user_ns["Wanted"] = "x'; drop table songs; --"
    result = shell.run_cell("%%sql\nselect :Wanted as text").result
    assert result["text"].tolist() == ["x'; drop table songs; --"]
    assert opened.count_rows()["songs"] == 0


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select * from no_such_table", "no_such_table"),
        ("selct 1", "syntax error"),
        ("select 1; select no_such_column; select 2", "no_such_column"),
        ("select :nothing", "names :nothing, which is no variable here"),
    ],
)
def test_a_mistake_stops_the_notebook_with_one_sentence(shell, opened, capsys, statement, reason):
    done = shell.run_cell(f"%%sql\n{statement}")
    assert isinstance(done.error_in_exec, WarehouseError)
    printed = capsys.readouterr().out
    assert printed.startswith("WarehouseError: ")
    assert reason in printed
    assert "Traceback" not in printed


def test_a_large_result_is_whole_and_its_display_says_how_much_is_shown(shell, opened):
    counted = "select 1 union all select number + 1 from numbers where number < 12345"
    numbers = f"with recursive numbers(number) as ({counted}) select number from numbers"
    result = shell.run_cell(f"%%sql\n{numbers}").result
    assert len(result) == 12345
    shown, _ = shell.display_formatter.format(result)
    for form in ("text/html", "text/plain"):
        assert "showing 20 of 12,345" in shown[form]
    assert shown["text/html"].count("<tr") == 21  # the heading and 20 rows


def test_a_small_result_is_shown_whole_and_escaped(shell, opened):
    result = shell.run_cell("%%sql\nselect '<script>alert(1)</script>' as title").result
    shown, _ = shell.display_formatter.format(result)
    assert "showing" not in shown["text/html"]
    assert "&lt;script&gt;" in shown["text/html"]


@pytest.mark.only_on("local")
def test_closing_frees_the_file_for_another_program(shell, opened):
    shell.run_cell("%%sql\nselect 1")
    opened.close()
    settings = config.read_settings(environ={}, database=str(opened.file), local__threads="2")
    warehouse.connect(settings).close()  # other options: fails while any connection is open


def test_a_cell_after_closing_says_that_it_is_closed(shell, opened):
    opened.close()
    done = shell.run_cell("%%sql\nselect 1")
    assert str(done.error_in_exec).startswith("The warehouse is closed; run this notebook again")


def test_a_notebook_can_be_run_again_from_the_top(shell, opened, world):
    for close_first in (False, True):
        if close_first:
            opened.close()
        again = warehouse.connect(world.settings)
        magic.activate(again)
        assert shell.run_cell("%%sql\nselect 1 as one").result["one"].tolist() == [1]
        again.close()
