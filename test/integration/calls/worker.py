"""Takes calls from a queue, and prints the payload of each before it answers."""

import json
import sys
import time

import redis

port, queue = int(sys.argv[1]), sys.argv[2]
# Without socket_timeout=None the package ends a BLPOP after 5 s.
bus = redis.Redis(host="127.0.0.1", port=port, socket_timeout=None)
print("ready", flush=True)
while True:
    _, text = bus.blpop(queue, 0)
    call = json.loads(text)
    if time.time() * 1000 > call["deadline"]:
        print("late", flush=True)
        continue
    print(json.dumps(call["payload"]), flush=True)
    answer = {"status": "ok", "response": {"n": call["payload"]["n"], "for": call["user"]}}
    bus.publish("reply:" + call["reply"], json.dumps(answer))
