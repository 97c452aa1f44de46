"""Channelstream 0.7.1 itself on a free port of this machine; prints the port. Settings as JSON in the first argument."""

import collections
import collections.abc
import copy
import json
import sys

# marshmallow 2 and Channelstream know this name from the time before Python 3.10.
collections.Mapping = collections.abc.Mapping

from gevent import monkey

monkey.patch_all()

import gevent
from ws4py.server.geventserver import WSGIServer

from channelstream.cli import SHARED_DEFAULTS
from channelstream.cli.start import RoutingApplication
from channelstream.gc import gc_conns_forever, gc_users_forever

config = copy.deepcopy(SHARED_DEFAULTS)
config["cookie_secret"] = "cookie"
config.update(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
gevent.spawn(gc_conns_forever)
gevent.spawn(gc_users_forever)
server = WSGIServer(("127.0.0.1", 0), RoutingApplication(config), log=None)
server.init_socket()
print(server.address[1], flush=True)
server.serve_forever()
