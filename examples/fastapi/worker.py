"""Answers the searches of the page: takes calls from a list in Redis. Several workers share the work."""

import json
import os
import time

import redis

ARTICLES = ["How to join a room", "How to leave a room", "Who can read a private message", "How to change a name"]

# BLPOP waits as long as there is no call.
bus = redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=None)


def answer(payload):
    words = payload.get("words") if isinstance(payload, dict) else None
    if not isinstance(words, str):
        return {"status": "error", "response": {"reason": "words must be text"}}
    found = [title for title in ARTICLES if words.lower() in title.lower()]
    return {"status": "ok", "response": {"titles": found}}


while True:
    text = bus.blpop(["queue:help"])[1]
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        continue  # nested too deeply
    # Later the page has given up.
    if time.time() * 1000 < call["deadline"]:
        bus.publish(f"reply:{call['reply']}", json.dumps(answer(call.get("payload"))))
