"""The end of the driver: the framework is torn down, with whatever works, in a bounded time.

Runs in the driver's main thread; the attempts themselves in a thread of their own. A framework that was asked for and
not yet granted is waited for: nothing else would ever take it away but its failover timeout.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from roujiamo.driver.framework import Framework, Phase
from roujiamo.driver.inbox import Inbox
from roujiamo.errors import RoujiamoError
from roujiamo.pymesos_driver.subscription import FAILOVER_SECONDS
from roujiamo.pymesos_driver.teardown import Teardown
from roujiamo.pymesos_driver.trouble import NOT_OURS

_log = logging.getLogger(__name__)

# What an answer that comes late leaves of the whole time for the TEARDOWN itself.
ANSWER_SHARE = 0.5


class Guardian:
    """`begin` once, `tick` until `status` is there; `sentence` then says what could not be done."""

    def __init__(self, framework: Framework, inbox: Inbox, seconds: float) -> None:
        self.status: int | None = None
        self.sentence = ""
        self.has_begun = False
        self._framework = framework
        self._inbox = inbox
        self._seconds = seconds
        self._deadline = 0.0
        self._thread: threading.Thread | None = None
        self._teardown: Teardown | None = None

    def begin(self, now: float) -> None:
        """Start the end."""
        if self.has_begun:
            return
        self.has_begun = True
        self._deadline = now + self._seconds
        self._framework.close()

    def tick(self, now: float) -> float:
        """Do what is due; return the seconds until something may be due again."""
        if self.status is not None or not self.has_begun:
            return 60.0
        framework = self._framework
        if framework.is_gone:
            self._on_gone()
        elif framework.ended_by is not None and framework.ended_by.kind in NOT_OURS:
            self._finish(None)
        elif self._thread is None and framework.framework_id is not None:
            self._start(now)
        elif self._thread is None and not self._is_answer_awaited(now):
            self._finish(
                "its id is not known: a master was asked for it and did not answer"
                if framework.may_exist_unknown
                else None
            )
        elif now >= self._deadline:
            self._finish("no master confirmed it in time")
        return max(0.0, min(0.2, self._deadline - now))

    def _is_answer_awaited(self, now: float) -> bool:
        if self._framework.phase is not Phase.ASKING:
            return False
        if now < self._deadline - self._seconds * ANSWER_SHARE:
            return True
        self._framework.may_exist_unknown = True
        return False

    def _start(self, now: float) -> None:
        framework = self._framework
        finder = framework.finder
        teardown = self._teardown = Teardown(
            framework.info, framework.credential, finder.last, finder.find_all, self._deadline - now
        )
        stream = framework.stream

        def run() -> None:
            try:
                teardown.run(stream)
                outcome: Callable[[], None] = self._on_gone
            except RoujiamoError as error:
                sentence = str(error)
                outcome = lambda: self._finish(sentence)  # noqa: E731
            self._inbox.put_now(outcome)

        self._thread = threading.Thread(target=run, name="teardown", daemon=True)
        self._thread.start()

    def _on_gone(self) -> None:
        """The framework is no more; where that was not our work, the broker may want to know why its tasks ended."""
        if self.status is None and (self._teardown is None or not self._teardown.may_have_ended_it):
            self._framework.tell_removed()
        self._finish(None)

    def _finish(self, reason: str | None) -> None:
        if self.status is not None:
            return
        framework = self._framework
        _log.info("the end: %s", reason or "nothing is left")
        self.status = 0 if reason is None and framework.ended_by is None else 1
        if reason is not None:
            timeout = framework.info.get("failover_timeout", FAILOVER_SECONDS)
            self.sentence = (
                f"the framework {framework.framework_id or '(new)'} may not be torn down: {reason}; "
                f"the master ends it and its tasks {timeout:g} s after losing us"
            )
