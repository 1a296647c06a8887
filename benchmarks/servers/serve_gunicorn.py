"""gunicorn: one gthread worker of eight threads; the application walks X-Forwarded-For."""

from __future__ import annotations

import os
from typing import Any

import common
from gunicorn.app.base import BaseApplication

options = common.parser().parse_args()
os.environ["ANSWER_BYTES"] = str(options.answer_bytes)
if options.proxied:
    os.environ["WALKS"] = "1"


class Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The application with its settings, instead of gunicorn's command line."""

    def load_config(self) -> None:
        settings = {
            "bind": f"{common.HOST}:{options.port}",
            "workers": 1,
            "threads": common.THREADS,
            "worker_class": "gthread",
            "keepalive": common.KEEP_ALIVE_SECONDS,
            "backlog": common.BACKLOG,
            "loglevel": "error",
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        import wsgi_app

        return getattr(wsgi_app, options.app)


Application().run()
