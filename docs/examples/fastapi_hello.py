"""FastAPI: the client's address, in a dependency.

edgeserver serve fastapi_hello:app --trust 10.0.0.5
"""

from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/")
async def hello(request: Request) -> dict[str, str]:
    """Say who asks, and by which scheme."""
    assert request.client is not None
    return {"client": request.client.host, "scheme": request.url.scheme}
