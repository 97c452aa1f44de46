"""A chat by Django: the application knows who is signed in, Channel carries the messages.

npm run demo:django starts it, with Channel and "app.py worker". Sessions are signed cookies: there is no database.
"""

import hmac
import json
import os
import re
import sys
import time
from pathlib import Path

import redis
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST
from django.views.static import serve

CHANNEL = os.environ["CHANNEL_URL"]
HOOK_SECRET = os.environ["HOOK_SECRET"].encode()
LOBBY = Path(__file__).parent.parent / "lobby"
NAME = re.compile(r"[a-z0-9]{1,20}")
ARTICLES = ["How to join a room", "How to leave a room", "Who can read a private message", "How to change a name"]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["SESSION_SECRET"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
bus = redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=None)  # BLPOP waits for long


def fields(request):
    """The JSON object that the page sent. Other websites can send no JSON, so no CSRF token is needed."""
    try:
        body = json.loads(request.body) if request.content_type == "application/json" else None
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def is_name(value):
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def is_from_channel(request):
    """Whether Channel signed the request within the last minute."""
    signature = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", request.headers.get("x-channel-signature", ""))
    if signature is None or abs(time.time() - int(signature[1])) > 60:
        return False
    signed = signature[1].encode() + b"." + request.body
    return hmac.compare_digest(hmac.new(HOOK_SECRET, signed, "sha256").hexdigest(), signature[2])


def page(_request):
    return HttpResponse((LOBBY / "index.html").read_text().replace("{channel}", CHANNEL))


@require_POST
def login(request):
    """A real application checks a password here."""
    user = fields(request).get("user")
    if not is_name(user):
        return JsonResponse({"error": "user must be 1 to 20 small letters and digits"}, status=422)
    request.session["user"] = user
    return session(request)


def session(request):
    user = request.session.get("user")
    return JsonResponse({"user": user}, status=401 if user is None else 200)


@require_POST
def authorize(request):
    """Channel asks this at each join, with the cookie of the page."""
    if not is_from_channel(request):
        return JsonResponse({"error": "not signed by Channel"}, status=401)
    user, join = request.session.get("user"), fields(request)
    if user is None or "params" not in join or join.get("channel") not in ("room:lobby", f"user:{user}"):
        return JsonResponse({"allow": False, "reason": "not allowed"})
    return JsonResponse({"allow": True, "id": user, "expires_in": 12 * 3600})


@require_POST
def say(request):
    """Publishes a line to all in the room, or to all windows of two users."""
    user, body = request.session.get("user"), fields(request)
    text, to = body.get("text"), body.get("to")
    if user is None:
        return JsonResponse({"error": "not signed in"}, status=401)
    if not isinstance(text, str) or not 0 < len(text) <= 500 or not (to is None or is_name(to)):
        return JsonResponse({"error": "text must have 1 to 500 characters, and to be a user"}, status=422)
    line = {"user": user, "text": text} | ({} if to is None else {"to": to})
    for channel in ["room:lobby"] if to is None else {f"user:{user}", f"user:{to}"}:
        bus.publish(f"to:{channel}:line", json.dumps(line))
    return JsonResponse({})


urlpatterns = [
    path("", page),
    path("lobby/<path:path>", serve, {"document_root": LOBBY}),
    path("login", login),
    path("session", session),
    path("channels/authorize", authorize),
    path("say", say),
]


def answer(payload):
    words = payload.get("words") if isinstance(payload, dict) else None
    if not isinstance(words, str):
        return {"status": "error", "response": {"reason": "words must be text"}}
    return {"status": "ok", "response": {"titles": [each for each in ARTICLES if words.lower() in each.lower()]}}


def work():
    """Answers the searches of the page: takes calls from a list in Redis. Several workers share the work."""
    while True:
        text = bus.blpop(["queue:help"])[1]
        try:
            call = json.loads(text)
        except (ValueError, RecursionError):
            continue  # nested too deeply
        # Later the page has given up.
        if time.time() * 1000 < call["deadline"]:
            bus.publish(f"reply:{call['reply']}", json.dumps(answer(call.get("payload"))))


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        work()
    execute_from_command_line(["app.py", "runserver", "--noreload", f"127.0.0.1:{os.environ['PORT']}"])
