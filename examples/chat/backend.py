"""The backend of the chat: stamps what pages say and publishes it to the room; publishes a price every second.

    python3 backend.py
"""

import json
import os
import random
import time

import redis

bus = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
prices = {"GOLD": 2400.0, "SILVER": 28.0, "COPPER": 9.5}


def answer(message):
    """Publishes a line that a page pushed: from:chat:<room>:say becomes to:chat:<room>:line."""
    room = message["channel"].decode().split(":", 1)[1].rsplit(":", 1)[0]
    try:
        text = json.loads(message["data"])["text"]
    except (ValueError, KeyError, TypeError):
        return
    bus.publish(f"to:{room}:line", json.dumps({"text": str(text)[:500], "at": time.time()}))


def publish_price():
    name = random.choice(list(prices))
    prices[name] = round(prices[name] * random.uniform(0.99, 1.01), 2)
    bus.publish(f"to:prices:{name}", json.dumps(prices[name]))


def serve():
    pushes = bus.pubsub(ignore_subscribe_messages=True)
    pushes.psubscribe("from:chat:*:say")
    print("serving the chat, stop with Ctrl-C", flush=True)
    due = time.monotonic()
    while True:
        message = pushes.get_message(timeout=max(0.0, due - time.monotonic()))
        if message is not None:
            answer(message)
        elif time.monotonic() >= due:
            publish_price()
            due += 1


def main():
    while True:
        try:
            serve()
        except redis.ConnectionError as error:
            print(f"Redis is away, trying again: {error}", flush=True)
            time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
