"""A chat by Django: the application knows who is signed in, Channel carries the messages.

npm run demo:django starts it, with Channel and "app.py worker". Without a database: sessions are signed cookies.
"""

import base64
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
from django.views.decorators.http import require_GET, require_POST
from django.views.static import serve

CHANNEL = os.environ["CHANNEL_URL"]
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
bus = redis.Redis.from_url(os.environ["REDIS_URL"])


def fields(request):
    """The JSON object that the page sent. Other websites can send no JSON, so no CSRF token is needed."""
    if request.content_type != "application/json":
        return {}
    try:
        body = json.loads(request.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def is_name(value):
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def token_for(user):
    """A token for the room; it covers user:<user> too."""

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"id": user, "channel": "room:lobby", "exp": int(time.time()) + 12 * 3600}
    signed = part(b'{"alg":"HS256"}') + b"." + part(json.dumps(claims).encode())
    signature = hmac.digest(os.environ["JWT_SECRET"].encode(), signed, "sha256")
    return (signed + b"." + part(signature)).decode()


@require_GET
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
    if user is None:
        return JsonResponse({"error": "not signed in"}, status=401)
    return JsonResponse({"user": user, "token": token_for(user)})


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
    path("say", say),
]


def work():
    """Answers the searches of the page, on the own channel of the user that searched."""
    searches = bus.pubsub(ignore_subscribe_messages=True)
    searches.psubscribe("push:room:*:search")
    for message in searches.listen():
        search = json.loads(message["data"])
        words = search["payload"].get("words") if isinstance(search["payload"], dict) else None
        titles = [title for title in ARTICLES if str(words).lower() in title.lower()]
        bus.publish(f"to:user:{search['user']}:found", json.dumps({"titles": titles}))


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        work()
    else:
        execute_from_command_line(["app.py", "runserver", "--noreload", f"127.0.0.1:{os.environ['PORT']}"])
