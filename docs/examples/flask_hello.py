"""Flask: no ProxyFix, the server has decided already.

edgeserver serve flask_hello:app --trust 10.0.0.5 --threads 16
"""

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def hello() -> dict[str, str | None]:
    """Say who asks, and by which scheme."""
    return {"client": request.remote_addr, "scheme": request.scheme}
