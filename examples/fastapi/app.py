"""A chat by FastAPI: the application knows who is signed in, Channel carries the messages.

npm run demo:fastapi starts it, with Channel and worker.py.
"""

import hmac
import json
import os
import re
import time
from pathlib import Path

import redis.asyncio as redis
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.middleware.sessions import SessionMiddleware

CHANNEL = os.environ["CHANNEL_URL"]
HOOK_SECRET = os.environ["HOOK_SECRET"].encode()
LOBBY = Path(__file__).parent.parent / "lobby"
NAME = r"^[a-z0-9]{1,20}$"

bus = redis.Redis.from_url(os.environ["REDIS_URL"])
app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=os.environ["SESSION_SECRET"], same_site="lax")
app.mount("/lobby", StaticFiles(directory=LOBBY))


class Login(BaseModel):
    user: str = Field(pattern=NAME)


class Join(BaseModel):
    channel: str
    params: dict


class Say(BaseModel):
    text: str = Field(min_length=1, max_length=500)
    to: str | None = Field(default=None, pattern=NAME)


def signed_in(request: Request) -> str:
    user = request.session.get("user")
    if user is None:
        raise HTTPException(401, "not signed in")
    return user


async def from_channel(request: Request) -> None:
    """Accepts requests that Channel signed within the last minute."""
    signature = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", request.headers.get("x-channel-signature", ""))
    if signature is None or abs(time.time() - int(signature[1])) > 60:
        raise HTTPException(401, "not signed by Channel")
    signed = signature[1].encode() + b"." + await request.body()
    if not hmac.compare_digest(hmac.new(HOOK_SECRET, signed, "sha256").hexdigest(), signature[2]):
        raise HTTPException(401, "not signed by Channel")


@app.get("/")
def page() -> HTMLResponse:
    return HTMLResponse((LOBBY / "index.html").read_text().replace("{channel}", CHANNEL))


@app.post("/login")
def login(form: Login, request: Request):
    """A real application checks a password here."""
    request.session["user"] = form.user
    return session(request)


@app.get("/session")
def session(request: Request):
    return {"user": signed_in(request)}


@app.post("/channels/authorize", dependencies=[Depends(from_channel)])
def authorize(join: Join, request: Request):
    """Channel asks this at each join, with the cookie of the page."""
    user = request.session.get("user")
    if user is None or join.channel not in ("room:lobby", f"user:{user}"):
        return {"allow": False, "reason": "not allowed"}
    return {"allow": True, "id": user, "expires_in": 12 * 3600}


@app.post("/say")
async def say(form: Say, request: Request):
    """Publishes a line to all in the room, or to all windows of two users."""
    line = {"user": signed_in(request), **form.model_dump(exclude_none=True)}
    channels = ["room:lobby"] if form.to is None else {f"user:{line['user']}", f"user:{form.to}"}
    for channel in channels:
        await bus.publish(f"to:{channel}:line", json.dumps(line))
    return {}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
