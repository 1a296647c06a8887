"""The three loggers, named as Tornado's are, so that people's filters need one word changed.

Decides only names: `edgeserver.general` for what happens to the server, `edgeserver.application`
for what the application did wrong, `edgeserver.access` for one line per request.
"""

import logging

__all__ = ["access_log", "app_log", "gen_log"]

access_log = logging.getLogger("edgeserver.access")
app_log = logging.getLogger("edgeserver.application")
gen_log = logging.getLogger("edgeserver.general")
