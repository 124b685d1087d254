"""A plain relay: each byte of one TCP connection to another and back, with nothing done to it.

A process of its own in the benchmarks, the measure for what two hops must cost. One connection is its stdin, the other
`relay.py listen ADDRESS` takes, and tells its port, or `relay.py connect ADDRESS PORT` makes.
"""

import select
import socket
import sys

inherited = socket.socket(fileno=0)
if sys.argv[1] == "listen":
    server = socket.create_server((sys.argv[2], 0))
    print("listening", server.getsockname()[1], flush=True)
    own, _ = server.accept()
else:
    own = socket.create_connection((sys.argv[2], int(sys.argv[3])))
    print("connected", flush=True)
others = {inherited.fileno(): (inherited, own), own.fileno(): (own, inherited)}
poll = select.poll()
for descriptor, (end, _) in others.items():
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    poll.register(descriptor, select.POLLIN)
while others:
    for descriptor, _ in poll.poll():
        source, sink = others[descriptor]
        data = source.recv(65536)
        if data:
            sink.sendall(data)
        else:
            poll.unregister(descriptor)
            del others[descriptor]
            sink.shutdown(socket.SHUT_WR)
