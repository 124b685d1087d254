"""A plain relay: each byte of one TCP connection to another and back, with nothing done to it.

A process of its own in the benchmarks, the measure for what two hops must cost: `relay.py PORT` connects to that port
of this machine for the one client that it takes.
"""

import select
import socket
import sys

server = socket.create_server(("127.0.0.1", 0))
print("listening", server.getsockname()[1], flush=True)
client, _ = server.accept()
target = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
others = {client.fileno(): (client, target), target.fileno(): (target, client)}
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
