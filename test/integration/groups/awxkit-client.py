"""Does with awxkit's own WebSocket client what it is told, one JSON array a line: [method, positional, keyword].

Prints {"connected": [the methods of the client]}, then {"received": message} for each message in its turn, {"did": method} once a method has
returned, and {"failed": method, "why": text} where it raised.
"""

import json
import sys
import threading
import time

from awxkit.ws import WSClient

port, secure, token = int(sys.argv[1]), sys.argv[2] == "secure", sys.argv[3]
printing = threading.Lock()


def say(**what):
    with printing:
        print(json.dumps(what), flush=True)


def read(client):
    while True:
        for message in client:
            say(received=message)
        time.sleep(0.005)


client = WSClient(token, hostname="localhost", port=port, secure=secure).connect()
say(connected=[name for name in vars(WSClient) if callable(getattr(WSClient, name)) and name[0] != "_"])
threading.Thread(target=read, args=(client,), daemon=True).start()
for line in sys.stdin:
    method, positional, keyword = json.loads(line)
    try:
        getattr(client, method)(*positional, **keyword)
        say(did=method)
    except Exception as error:  # noqa: BLE001 - the test wants to know whatever it was
        say(failed=method, why=repr(error))
