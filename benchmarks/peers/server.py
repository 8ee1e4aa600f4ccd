"""A PostgreSQL for a peer alone, set up for a load as its manual advises."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from tests.standin.postgres import Server

SETTINGS = {
    "listen_addresses": "",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "512MB",
    "parallel_setup_cost": "100",
    "parallel_tuple_cost": "0.01",
    "shared_buffers": "2GB",
    "timezone": "UTC",
    "wal_level": "minimal",
    "work_mem": "512MB",
}


@contextmanager
def connected() -> Iterator[psycopg2.extensions.connection]:
    """Start a server, lend a connection to it, and stop it."""
    server = Server(SETTINGS)
    try:
        connection = psycopg2.connect(host=str(server.folder), user="postgres", dbname="postgres")
        yield connection
        connection.close()
    finally:
        server.close()
