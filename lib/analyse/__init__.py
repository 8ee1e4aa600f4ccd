"""04_analyse: numbers, charts and the report."""
