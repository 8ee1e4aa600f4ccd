"""How papermill runs a notebook here: when it saves it."""

from __future__ import annotations

import time

from papermill.engines import NBClientEngine, papermill_engines

PAUSE = 5.0  # seconds between two saves of a running notebook


class Engine(NBClientEngine):
    """Papermill's own engine, which would write the whole notebook twice for every cell."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, *arguments, **named) -> None:
        """Run every cell; the notebook is saved now and then, and by papermill at its end."""
        save, saved = nb_man.save, time.monotonic()

        def save_seldom(**about) -> None:
            nonlocal saved
            if time.monotonic() - saved > PAUSE:
                save(**about)
                saved = time.monotonic()

        nb_man.save = save_seldom
        try:
            super().execute_managed_notebook(nb_man, *arguments, **named)
        finally:
            nb_man.save = save


papermill_engines.register(Engine.__module__, Engine)
