"""Answers the searches of the page, on the own channel of the user that searched."""

import json
import os

import redis

ARTICLES = ["How to join a room", "How to leave a room", "Who can read a private message", "How to change a name"]

bus = redis.Redis.from_url(os.environ["REDIS_URL"])


def find(words):
    return [title for title in ARTICLES if str(words).lower() in title.lower()]


searches = bus.pubsub(ignore_subscribe_messages=True)
searches.psubscribe("push:room:*:search")
for message in searches.listen():
    search = json.loads(message["data"])
    payload = search["payload"]
    titles = find(payload.get("words", "")) if isinstance(payload, dict) else []
    bus.publish(f"to:user:{search['user']}:found", json.dumps({"titles": titles}))
