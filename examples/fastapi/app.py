"""A chat by FastAPI: the application knows who is signed in, Channel carries the messages.

npm run demo:fastapi starts it, with Channel and worker.py.
"""

import base64
import hmac
import json
import os
import time
from pathlib import Path

import redis.asyncio as redis
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.middleware.sessions import SessionMiddleware

CHANNEL = os.environ["CHANNEL_URL"]
LOBBY = Path(__file__).parent.parent / "lobby"
NAME = r"^[a-z0-9]{1,20}$"

bus = redis.Redis.from_url(os.environ["REDIS_URL"])
app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=os.environ["SESSION_SECRET"], same_site="lax")
app.mount("/lobby", StaticFiles(directory=LOBBY))


class Login(BaseModel):
    user: str = Field(pattern=NAME)


class Say(BaseModel):
    text: str = Field(min_length=1, max_length=500)
    to: str | None = Field(default=None, pattern=NAME)


def signed_in(request: Request) -> str:
    user = request.session.get("user")
    if user is None:
        raise HTTPException(401, "not signed in")
    return user


def token_for(user: str) -> str:
    """A token for the room; it covers user:<user> too."""

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"id": user, "channel": "room:lobby", "exp": int(time.time()) + 12 * 3600}
    signed = part(b'{"alg":"HS256"}') + b"." + part(json.dumps(claims).encode())
    signature = hmac.digest(os.environ["JWT_SECRET"].encode(), signed, "sha256")
    return (signed + b"." + part(signature)).decode()


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
    user = signed_in(request)
    return {"user": user, "token": token_for(user)}


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
