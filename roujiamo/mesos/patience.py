"""When a gang that is not complete holds what it has, gives it back, and asks again.

Pure; part of the allocator, which tells it what is held. `now` is any clock that does not go backwards, in seconds.

    OPEN --an offer that helps--> HOLDING --no more comes (SUPPRESS)--> RESTING --time to ask (REVIVE)--> OPEN
      `--no answer to an asking (SUPPRESS)--------------------------------^

A master gives all that is free of an agent to one framework, and of frameworks that have nothing yet to each an agent
in turn: gangs that listen together get one agent each, and none is ever complete. But a REVIVE is answered at once, and
to a framework that listens alone with all there is. So a gang rests with its offers suppressed, and asks from time to
time, at random: who asks first is complete in one step, and nobody has to hold anything for that. What is not enough is
back within moments. In simulated races (tests/mesos/test_gang_races.py) 5 gangs for the same 3 agents, with jobs of 6 s
in all, take 8 s; when each listened on, between holds of 3 s and rests that grew, they took 33 s, and up to 86.

Other frameworks may take what is free faster than all of it is there at an asking. Therefore a gang that has most of
what it needs keeps it as long as more comes, but not twice in a row: gangs that hold each other up then have time to be
complete one after another.
"""

from collections.abc import Callable

# Never longer, whatever comes.
HOLD_SECONDS = 3.0
# Agents that register together are offered one by one.
MOMENT_SECONDS = 0.05
# How long a gang listens for the answer to a REVIVE; doubled while there is none, and after the longest it listens on.
# An allocator that is busy for longer would find a SUPPRESS behind each REVIVE; and where nothing is free for a while,
# listening costs nobody anything.
SHORTEST_ANSWER_SECONDS = 0.2
LONGEST_ANSWER_SECONDS = 5.0
# An allocation interval (1 s by default), and up to half of one more: what others give back is offered again by then.
STILL_SECONDS = 1.0
# Between two holds of most of a gang, from time to time longer.
SHORTEST_REST_SECONDS = 15.0
LONGEST_REST_SECONDS = 60.0
# Between two askings, on the average; within it, a thirtieth of the wait so far.
SHORTEST_GAP_SECONDS = 1.0
LONGEST_GAP_SECONDS = 3.0
WAIT_SHARE = 1 / 30
# An asking costs master and session something for each agent that is offered: no more a second than this.
OFFERS_PER_SECOND = 200


class Patience:
    """The clock of one gang. `random` returns floats in [0, 1)."""

    def __init__(self, hold_seconds: float, now: float, random: Callable[[], float]) -> None:
        self.hold_until: float | None = None  # while offers are held
        self.ask_at: float | None = None  # the next REVIVE
        self.close_at: float | None = None  # the SUPPRESS, where nothing answers
        self._hold_seconds = hold_seconds
        self._random = random
        self._since = now
        self._hold_end = now
        self._held = 0
        self._answer_seconds = SHORTEST_ANSWER_SECONDS
        self._offers = 0  # since it asked
        self._had_most = False
        self._rest_until = now
        self._rest_seconds = SHORTEST_REST_SECONDS

    def next_deadline(self) -> float | None:
        """Return when something is to be done, or None."""
        times = (self.hold_until, self.ask_at, self.close_at)
        return min((each for each in times if each is not None), default=None)

    def hold(self, held: int, now: float, *, is_most: bool) -> None:
        """So many agents (or slots) are held now: keep them for a moment, or as long as more comes where it is most.

        `is_most` may be said for other reasons to expect more soon.
        """
        if self.hold_until is None:
            # Not all gangs' holds are equally long, or they might start and end together for ever.
            self._hold_end = now + self._hold_seconds * self._between(0.5, 1.0)
            self._held = 0
            self._had_most = False
        if held > self._held:
            is_most = is_most and now >= self._rest_until
            self._had_most = self._had_most or is_most
            seconds = STILL_SECONDS * self._between(1.0, 1.5) if is_most else MOMENT_SECONDS
            self.hold_until = min(self._hold_end, max(self.hold_until or now, now + seconds))
        self._held = held
        self._answer_seconds = SHORTEST_ANSWER_SECONDS
        self.ask_at = self.close_at = None

    def listen(self) -> None:
        """Nothing is held, and nothing is suppressed."""
        self.hold_until = None

    def note_offers(self, offers: int) -> None:
        """So many offers came, whatever they were."""
        self._offers += offers

    def give_back(self, now: float) -> float:
        """No more comes, so all goes back; return for how long it is refused."""
        if self.hold_until is not None and self._had_most:
            self._rest_until = now + self._rest_seconds * self._between(0.5, 1.5)
            self._rest_seconds = min(LONGEST_REST_SECONDS, 2 * self._rest_seconds)
        self.hold_until = self.close_at = None
        return self._plan(now) - now

    def ask(self, now: float) -> None:
        """A REVIVE is on its way."""
        self.ask_at = None
        self._offers = 0
        is_long = self._answer_seconds > LONGEST_ANSWER_SECONDS
        self.close_at = None if is_long else now + self._answer_seconds
        self._answer_seconds *= 1 if is_long else 2

    def close(self, now: float) -> None:
        """Nothing answered in time: what is free now is held by others, who ask later again."""
        self.close_at = None
        self._plan(now)

    def end(self, now: float) -> None:
        """All is there, or can never be: what may be missing later is another wait."""
        self.hold_until = self.ask_at = self.close_at = None
        self._since = self._rest_until = now
        self._rest_seconds = SHORTEST_REST_SECONDS
        self._answer_seconds = SHORTEST_ANSWER_SECONDS

    def _plan(self, now: float) -> float:
        if self.ask_at is None:
            gap = min(max(SHORTEST_GAP_SECONDS, (now - self._since) * WAIT_SHARE), LONGEST_GAP_SECONDS)
            gap = max(gap, self._offers / OFFERS_PER_SECOND)
            self.ask_at = now + gap * self._between(0.5, 1.5)
        return self.ask_at

    def _between(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()
