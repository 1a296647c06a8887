"""Tornado: the application as it is; `request.remote_ip` has its proof.

edgeserver serve tornado_hello:application --trust 10.0.0.5
"""

import tornado.web


class Hello(tornado.web.RequestHandler):
    """Says who asks, and by which scheme."""

    def get(self) -> None:
        """Answer with JSON."""
        self.write({"client": self.request.remote_ip, "scheme": self.request.protocol})


application = tornado.web.Application([("/", Hello)])
