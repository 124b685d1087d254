"""The session's proxies: their call-backs, their connections' losses and returns, their goodbyes.

Runs in the broker. Each proxy is trusted for its own host alone. What a task carries proves it once, for first contact;
later connections are made with the credential that the proxy was sent in its WELCOME, each in a new epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from importlib.util import MAGIC_NUMBER

from roujiamo.broker.callback import CallBackPort
from roujiamo.broker.connection import Connection
from roujiamo.broker.hosts import CONTACTED, LOST, READY, Host
from roujiamo.broker.moments import Moments
from roujiamo.protocol import frames
from roujiamo.protocol.handshake import FIRST_CONTACT, RESUME, Responder, identity
from roujiamo.protocol.link import Link
from roujiamo.proxy.carried import CarriedCode
from roujiamo.proxy.welcome import build_welcome
from roujiamo.session import timeline
from roujiamo.session.network import parse_callback
from roujiamo.session.request import SessionRequest
from roujiamo.system.addresses import address_towards, callback_target, listening_address

log = logging.getLogger(__name__)

# In the time for which a connection may be silent.
PINGS = 3
# So long are the answers left in their sockets, that one wake-up may read them all: without, each host's is another,
# 0.27 a second for four hosts. What else a host sends meanwhile is as late as that, four times a minute.
GATHERING_SECONDS = 0.05
# A proxy begins its last try when its grace is over (`roujiamo.proxy.connection`), and that may have begun later.
LAST_TRY_SECONDS = 3.0
GOODBYE_SECONDS = 6.0


class Proxies:
    """The connections of all hosts. `targets` is where tasks call back to, empty until the port is open."""

    def __init__(
        self,
        request: SessionRequest,
        hosts: Mapping[str, Host],
        is_ending: Callable[[], bool],
        *,
        unlocks_memory: bool,
        moments: Moments,
    ) -> None:
        """`hosts` by task id, as the session keeps them. `is_ending`: a proxy that leaves is not missed any more."""
        self.targets: list[str] = []
        self._request = request
        self._hosts = hosts
        self._is_ending = is_ending
        self._moments = moments
        self._loop = asyncio.get_running_loop()
        self._connected: set[Host] = set()
        self._all_gone = asyncio.Event()
        self._by_identity: dict[tuple[int, bytes], Host] = {}
        self._unlocks_memory = unlocks_memory
        self._code = CarriedCode()
        self._welcome = b""
        self._port = CallBackPort(
            find_secret=self._find_secret,
            find_host=lambda responder: self._by_identity[(responder.kind, responder.identity)],
            on_proved=self._on_proved,
            on_disconnected=self._on_disconnected,
            keepalive_seconds=request.keepalive_seconds,
        )

    def make_code(self) -> None:
        """Make what most hosts will be sent, whose Python is the one that is here: some 20 ms, once."""
        self._code.of(MAGIC_NUMBER)

    def prepare(self) -> None:
        """Make all hosts' welcome, before anything is launched.

        Raises UsageError where the user's environment is too large for it.
        """
        self._welcome = build_welcome(
            self._request.environment,
            {
                "reconnect_grace_seconds": self._request.reconnect_grace_seconds,
                "silence_seconds": self._request.keepalive_seconds,
                "unlocks_memory": self._unlocks_memory,
            },
            self._request.prefix,
        )

    async def listen(self, master_address: str) -> None:
        """Open the call-back port on the address that faces the master (`host:port`). Raises RoujiamoError."""
        advertised, port = parse_callback(self._request.callback_address or "")
        advertised = advertised or address_towards(master_address.rsplit(":", 1)[0].strip("[]"))
        await self._port.listen(listening_address(advertised), self._request.callback_ports)
        self.targets = [callback_target(advertised, port or self._port.port)]

    def expect(self, host: Host) -> None:
        """Let the host's proxy in, from now on."""
        assert host.token is not None
        self._by_identity[(FIRST_CONTACT, identity(host.token))] = host
        self._by_identity[(RESUME, identity(host.resume))] = host

    @property
    def ping_seconds(self) -> float:
        """How often `ping` is to be called."""
        return self._request.keepalive_seconds / PINGS

    async def ping(self) -> None:
        """Ping every proxy; drop the connection of one that has been silent too long, so that it comes back."""
        now = self._loop.time()
        asked = []
        for host in self._hosts.values():
            if host.transport is None:
                continue
            if now - host.last_heard > self._request.keepalive_seconds:
                log.warning("%s has been silent for %.0f s", host.name, now - host.last_heard)
                host.transport.abort()
            else:
                host.send_frame(frames.PING, 0)
                host.transport.pause_reading()
                asked.append(host.transport)
        try:
            await asyncio.sleep(GATHERING_SECONDS)
        finally:
            for transport in asked:
                transport.resume_reading()

    async def say_goodbye(self, reason: str) -> None:
        """Tell every proxy that the session is over, and wait until they have gone, for a while."""
        for host in self._hosts.values():
            if host.transport is not None:
                host.send_frame(frames.GOODBYE, 0, reason.encode("utf-8", "replace")[:400])
                host.flush()
        if self._connected:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), GOODBYE_SECONDS)

    def note_departure(self, host: Host) -> None:
        """The host's proxy is connected no more; once the session is ending, the last one is waited for."""
        self._connected.discard(host)
        if self._is_ending() and not self._connected:
            self._all_gone.set()

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def _find_secret(self, kind: int, who: bytes, epoch: int) -> bytes | None:
        """Return the secret that a hello may be made with: a token not yet used, or a credential in a new epoch."""
        host = self._by_identity.get((kind, who))
        if host is None or host.state == LOST:
            return None
        if kind == FIRST_CONTACT:
            return host.token
        return host.resume if epoch > host.epoch and host.link is not None else None

    def _on_proved(self, host: Host, responder: Responder, connection: Connection, told: int) -> bool:
        host.last_heard = self._loop.time()
        if responder.kind == FIRST_CONTACT:
            # A session that is ending waits for the proxies that it has told; this one would only now begin.
            if host.token is None or self._is_ending():
                return False
            host.token = None
            host.state = CONTACTED
            self._moments.of_host(host, timeline.CALLED_BACK)
            host.callback_address = connection.local_address()
            host.link = Link(responder.send_key, responder.receive_key)
            host.transport = connection
            self._connected.add(host)
            code, digest = self._code.of(responder.python)
            host.link.send_frame(frames.WELCOME, 0, self._welcome, host.resume)
            connection.write(responder.code_header(len(code), digest), code, *host.link.pieces_to_send())
            return True
        if host.link is None or host.link.received != told or responder.epoch <= host.epoch:
            # The old connection has delivered more since the challenge, and the proxy would send it again; or a later
            # try of the proxy has been faster with its proof.
            return False
        host.epoch = responder.epoch
        previous, host.transport = host.transport, connection
        self._connected.add(host)
        if previous is not None:
            previous.abort()
        host.link.resume(responder.send_key, responder.receive_key, responder.peer_received)
        if self._is_ending():
            host.send_frame(frames.GOODBYE, 0, b"the session ended")
        host.flush()
        log.info("%s is back", host.name)
        return True

    def _on_disconnected(self, host: Host) -> None:
        host.transport = None
        if self._is_ending():
            self._moments.of_host(host, timeline.ENDED)
        self.note_departure(host)
        if self._is_ending() or host.state == LOST:
            return
        if host.state == CONTACTED:
            host.lose(f"the task on {host.name} closed its connection before it was ready")
            return
        grace = self._request.reconnect_grace_seconds
        log.info("%s is out of reach; waiting %.1f s", host.name, grace)
        self._loop.call_later(grace + LAST_TRY_SECONDS, self._on_grace_over, host, host.epoch)

    def _on_grace_over(self, host: Host, epoch: int) -> None:
        if host.transport is None and host.epoch == epoch and host.state != LOST:
            host.lose(
                f"{host.name} has been out of reach for {self._request.reconnect_grace_seconds:g} s (--reconnect-grace)"
            )

    def out_of_reach(self) -> list[Host]:
        """Return the hosts that were ready, and whose proxies are connected no more."""
        return [host for host in self._hosts.values() if host.state == READY and host.transport is None]

    def lost_at_the_end(self) -> list[str]:
        """Return a sentence for each host that is out of reach now: a launcher may see it before the grace is over."""
        return [
            f"{host.name} was out of reach at the end: its agent, its task or the way to it was lost"
            for host in self.out_of_reach()
        ]
