"""One chaos run: a small job, some faults at random moments to random parts, all drawn from its own seed.

What must hold, whatever was hit: the run ends in time, nothing is left, and a status of 0 means that every rank came to
its end. Broker and driver are never hit both: that is the stated exception, where a framework outlives its session.
"""

from __future__ import annotations

import random
import time

from tests.faults.job import FINISHING, OWN, PHASES, Job, Site, job
from tests.faults.parts import CLUSTER, VICTIMS

# After the beginning of a phase, or after the fault before; the last phase is over sooner.
LATEST_SECONDS = 0.6
LATEST_FINISHING_SECONDS = 0.15
FAULTS = ("KILL", "KILL", "TERM", "INT", "STOP")
COUNTS = (1, 1, 2, 3)
# One run in so many has a cluster of its own, whose master and agents are hit too.
OWN_CLUSTER_IN = 8
# What a status other than 0 may be without a word for: the wrapper itself was hit, or mpiexec, which may keep silent.
SILENT = ("wrapper", "mpiexec")


def play(seed: int, number: int, shared: Site) -> str:
    """Play run `number` of `seed`; return what was done and the status. AssertionError where a rule is broken.

    All is drawn before anything is done: the same number of the same seed has the same plan again.
    """
    chance = random.Random(f"{seed}/{number}")
    is_own = chance.randrange(OWN_CLUSTER_IN) == 0 and shared.is_near
    phase = chance.choice(PHASES)
    # In a random order: the first that lives when its moment has come is hit.
    victims = [victim for victim in VICTIMS if is_own or victim not in CLUSTER]
    chance.shuffle(victims)
    latest = LATEST_FINISHING_SECONDS if phase == FINISHING else LATEST_SECONDS
    plan = [(chance.uniform(0, latest), chance.choice(FAULTS)) for _ in range(chance.choice(COUNTS))]
    done: list[str] = []
    with job(OWN if is_own else shared, phase) as subject:
        try:
            subject.reach(phase)
            for pause, fault in plan:
                time.sleep(pause)
                if (victim := _hit(subject, victims, fault)) is not None:
                    done.append(f"{fault} {victim}")
                    spared = {victim, *(("broker", "driver") if victim in ("broker", "driver") else ())}
                    victims = [each for each in victims if each not in spared]
            status = subject.finish()
            subject.assert_nothing_left()
        except AssertionError as error:
            raise AssertionError(f"{phase}: {', '.join(done)}: {error}") from None
        out, err = subject.said("out"), subject.said("err")
    told = f"{phase}: {', '.join(done) or 'nothing'}: status {status}"
    assert status != 0 or out.count("done") == 2, f"{told}, without both ranks' ends; stderr: {err}"
    assert "Traceback" not in err, f"{told}; stderr: {err}"
    is_silent = any(each.endswith(SILENT) for each in done)
    assert status == 0 or err.strip() or is_silent, f"{told}, and not a word"
    return told


def _hit(subject: Job, victims: list[str], fault: str) -> str | None:
    if subject.process.poll() is not None:
        return None
    parts = subject.parts()
    for victim in victims:
        if parts[victim] and subject.inflict(victim, fault):
            return victim
    return None
