"""DuckDB by plain SQL: the models of the dbt project, without dbt."""

import duckdb

from benchmarks import peers


def create_star(file: str, sources: dict[str, str]) -> str:
    """Build the models in a DuckDB file; staging is temporary."""
    with duckdb.connect(file, config={"preserve_insertion_order": False}) as database:
        for model, query in peers.render_models(sources).items():
            kind = "temporary table" if model in peers.STAGING else "table"
            database.execute(f"create {kind} {model} as {query}")
    return file


def build(data: str, folder: str) -> str:
    """Build the star in a new database."""
    peers.join_songs(data, folder)
    return create_star(f"{folder}/star.duckdb", peers.find_sources(data, folder))
