"""This project's warehouse, as the notebooks ask it."""

import sys

from benchmarks.questions import serve
from lib import config, warehouse

if __name__ == "__main__":
    settings = config.load(environ={}, database=f"{sys.argv[1]}/star.duckdb")
    opened = warehouse.connect(settings, read_only=True)
    serve(lambda asked: opened.rows(f"analysis/{asked['name']}", **asked["values"]))
