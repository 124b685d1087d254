"""What `roujiamo doctor` learns of the master without a task: who leads, its version, its agents, if it lets us in.

Runs in the user's shell. Nothing is changed there: the one call that is made of a scheduler is one that a master which
has let it in refuses, because it belongs to no subscription.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from roujiamo.errors import MasterError, RoujiamoError
from roujiamo.pymesos_driver.credential import Credential
from roujiamo.pymesos_driver.exchange import SCHEDULER_PATH, Exchange, encode_call, scheduler_headers
from roujiamo.pymesos_driver.master import Address, ZooKeeper, parse_address, parse_master, reach
from roujiamo.pymesos_driver.trouble import subscribe_refused
from roujiamo.pymesos_driver.zookeeper import find_leader
from roujiamo.run.findings import BAD, GOOD, NOTE, Finding
from roujiamo.session.names import natural_order
from roujiamo.session.request import SessionRequest

MASTER_SECONDS = 5.0
ZOOKEEPER_SECONDS = 10.0
# More agents than that are counted, not described.
MAX_SHOWN = 8
_UNAUTHORIZED, _REDIRECTS = 401, (301, 302, 307)


class MasterCheck:
    """Looks at the master that the request names; `names` are its active agents', once `findings` is through."""

    def __init__(self, request: SessionRequest) -> None:
        self.names: list[str] = []
        self._request = request
        self._headers = scheduler_headers(
            Credential(request.principal, request.secret).authorization()
            if request.principal is not None and request.secret is not None
            else None
        )

    def agents(self) -> tuple[str, list[Any]]:
        """Return ip:port of the master that leads, and its agents as GET /slaves lists them. Raises RoujiamoError."""
        master = self._find()
        return master, Exchange(master, MASTER_SECONDS).get_agents(self._headers)

    def findings(self) -> Iterator[Finding]:
        """Yield what is found, up to what prevents any more."""
        try:
            master = self._find()
            yield Finding("master", GOOD, f"{master} leads{self._version(master)}")
        except RoujiamoError as error:
            yield Finding("master", BAD, str(error))
            return
        try:
            yield self._authentication(master)
            agents = Exchange(master, MASTER_SECONDS).get_agents(self._headers)
        except RoujiamoError as error:
            yield Finding("agents", NOTE, f"{error}; a run would wait for offers all the same")
            return
        yield from self._agents(agents)

    def _find(self) -> str:
        """Return ip:port of the master that leads. Raises RoujiamoError."""
        named = parse_master(self._request.master)
        if isinstance(named, ZooKeeper):
            return reach(find_leader(named, ZOOKEEPER_SECONDS), MASTER_SECONDS)
        failure: RoujiamoError | None = None
        for address in named:
            try:
                return self._leader(address)
            except RoujiamoError as error:
                # Another one may lead.
                failure = error
        assert failure is not None
        raise failure

    def _leader(self, address: Address) -> str:
        master = reach(address, MASTER_SECONDS)
        status, _, headers = self._probe(master)
        if status not in _REDIRECTS:
            return master
        # Where no master leads, a Location is missing.
        leader = headers.get("location", "")
        if not leader:
            raise MasterError(f"{address} answers, but knows of no master that leads; wait until one does")
        return reach(parse_address(leader), MASTER_SECONDS)

    def _probe(self, master: str) -> tuple[int, str, Mapping[str, str]]:
        """Make a call that is refused with 400 or 403 by a master that leads and has let us in."""
        body = encode_call("REVIVE", "roujiamo-doctor")
        return Exchange(master, MASTER_SECONDS).ask("POST", SCHEDULER_PATH, self._headers, body)

    def _version(self, master: str) -> str:
        with suppress(RoujiamoError, ValueError, AttributeError):
            status, text, _ = Exchange(master, MASTER_SECONDS).ask("GET", "/version", self._headers)
            version = json.loads(text).get("version") if status == 200 else None
            if version:
                return f", Mesos {str(version)[:40]}"
        return ""

    def _authentication(self, master: str) -> Finding:
        principal = self._request.principal
        status, text, _ = self._probe(master)
        if status == _UNAUTHORIZED:
            return Finding("principal", BAD, str(subscribe_refused(master, status, text, principal)))
        if principal is None:
            return Finding("principal", GOOD, "none, and the master asks for none")
        if self._request.secret is None:
            return Finding("principal", GOOD, f"{principal}, without a secret; the master asks for none")
        return Finding("principal", GOOD, f"the master takes {principal}")

    def _agents(self, agents: list[Any]) -> Iterator[Finding]:
        active = [agent for agent in agents if isinstance(agent, dict) and agent.get("active")]
        if not active:
            text = "the master knows no active agent; start one, or wait until they are back"
            yield Finding("agents", BAD, text)
            return
        self.names = sorted((str(agent.get("hostname")) for agent in active), key=natural_order)
        cpus, mem = (sum(_free(agent, what)[0] for agent in active) for what in ("cpus", "mem"))
        text = f"{len(active)}, with {cpus:g} cpus and {mem:g} MB free in all"
        yield Finding("agents", GOOD if cpus > 0 else NOTE, text)
        for agent in sorted(active, key=lambda each: natural_order(str(each.get("hostname"))))[:MAX_SHOWN]:
            yield Finding(str(agent.get("hostname")), GOOD, _describe(agent))


def _free(agent: Mapping[str, Any], what: str) -> tuple[float, float]:
    """Return how much of a resource an agent has free, and in all."""

    def amount(of: str) -> float:
        value = agent.get(of)
        number = value.get(what, 0) if isinstance(value, dict) else 0
        return float(number) if isinstance(number, (int, float)) else 0.0

    return max(amount("resources") - amount("used_resources"), 0.0), amount("resources")


def _describe(agent: Mapping[str, Any]) -> str:
    amounts = []
    for what, unit in (("cpus", "cpus"), ("mem", "MB"), ("gpus", "GPUs")):
        free, whole = _free(agent, what)
        if whole:
            amounts.append(f"{free:g} of {whole:g} {unit}")
    parts = [f"{', '.join(amounts) or 'nothing'} free"]
    attributes = agent.get("attributes")
    if isinstance(attributes, dict) and attributes:
        parts += (f"{name}={value}" for name, value in sorted(attributes.items()))
    return "; ".join(parts)
