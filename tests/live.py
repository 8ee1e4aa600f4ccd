"""The five notebooks against a real AWS account: `make test-live`. It costs money; never in CI.

Shows the plan with its price and asks for your word. Then it runs the notebooks on target redshift,
loads the same files into a DuckDB file, compares every table and every analysis, and removes
everything, also after a failure. Options of `python -m lib.run` can be added; without any, the data
is a part of the public Sparkify bucket.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lib import UserError, config, load, provision, run, warehouse
from tests.differential import differences

PUBLIC = (
    *("--log-data", "s3://udacity-dend/log_data"),
    *("--song-data", "s3://udacity-dend/song_data/A/A"),
)


def compared(settings: config.Settings) -> list[str]:
    """Load the same files into a DuckDB file, and return what differs from the cluster."""
    with TemporaryDirectory() as folder:
        places = {"log_data": settings.data.log_data, "song_data": settings.data.song_data}
        own = Path(folder, "live.duckdb")
        local = config.read_settings(target="local", database=own, **places)
        one = warehouse.connect(local, create=True)
        one.create_schema()
        load.load(one, local)
        other = warehouse.connect(settings)
        try:
            return differences(one, other)
        finally:
            one.close()
            other.close()


def main(words: list[str]) -> int:
    """Run the whole of it; return the exit code."""
    words = ["--target", "redshift", *(words or PUBLIC)]
    settings = run.read_settings(run.make_parser().parse_args(words))
    try:
        print(provision.plan_creation(settings))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print("\nThis creates what the plan lists, for about half an hour, and then removes it.")
    if input("Type yes to go on: ").strip() != "yes":
        return 2
    codes, found = [], ["the notebooks did not run to their end"]
    try:
        codes.append(run.main([*words, "--yes", "--keep"]))
        if not any(codes):
            found = compared(settings)
    finally:
        codes.append(run.main([*words, "--only", "05", "--teardown"]))
        print(provision.describe_status(settings))
    print("\n".join(found) or "Every table and every analysis is equal on both engines.")
    return int(any(codes) or bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
