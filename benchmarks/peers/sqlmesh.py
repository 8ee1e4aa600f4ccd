"""SQLMesh on DuckDB, with the models of the dbt project."""

from pathlib import Path

from sqlmesh import Context
from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig

from benchmarks import peers

# Otherwise it writes the keys of read_json's columns in lower case, and reads NULLs.
DIALECT = "duckdb,normalization_strategy=case_sensitive"


def prepare(data: str, folder: str) -> tuple:
    """Write a project to `folder`, and read it."""
    Path(folder, "models").mkdir()
    sources = peers.find_sources(data, folder)
    for model, query in peers.render_models(sources, "main.{}").items():
        header = f"model (name main.{model}, kind full);\n\n"
        Path(folder, "models", f"{model}.sql").write_text(header + query)
    file, options = f"{folder}/star.duckdb", {"preserve_insertion_order": False}
    database = DuckDBConnectionConfig(database=file, concurrent_tasks=2, connector_config=options)
    config = Config(
        gateways={"local": GatewayConfig(connection=database)},
        model_defaults=ModelDefaultsConfig(dialect=DIALECT, start="2018-11-01"),
        disable_anonymized_analytics=True,
    )
    return Context(paths=folder, config=config), data, folder


def build(context: Context, data: str, folder: str) -> str:
    """Build all models."""
    peers.join_songs(data, folder)
    context.plan(auto_apply=True, no_prompts=True)
    context.close()
    return f"{folder}/star.duckdb"
