"""One chaos run: a small job, one or two faults at random moments to random parts, all drawn from its own seed.

What must hold, whatever was hit: the run ends in time, nothing is left, and a status of 0 means that every rank came to
its end. Broker and driver are never hit both: that is the stated exception, where a framework outlives its session.
"""

from __future__ import annotations

import random
import time

from tests.faults.job import FINISHING, PHASES, RANKS, VICTIMS, Job, job

# After the beginning of a phase.
LATEST_SECONDS = 1.0
FAULTS = ("KILL", "KILL", "TERM", "INT", "STOP")
# Of a real cluster only the launch host's parts are seen, and the phases that show there.
SEEN = ("wrapper", "broker", "driver", "mpiexec", "shim")


def play(seed: int, number: int, master: str = "local:2") -> str:
    """Play run `number` of `seed`; return what was done and the status. AssertionError where a rule is broken."""
    chance = random.Random(f"{seed}/{number}")
    is_local = master.startswith("local")
    phase = chance.choice(PHASES[1:] if is_local else (RANKS, FINISHING))
    # In a random order: the first that lives when its moment has come is hit.
    victims = list(VICTIMS if is_local else SEEN)
    chance.shuffle(victims)
    plan = [
        (chance.uniform(0, LATEST_SECONDS), chance.choice(FAULTS)) for _ in range(chance.choice((1, 1, 2)))
    ]
    done: list[str] = []
    with job(master=master) as subject:
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
    told = f"{phase}: {', '.join(done)}: status {status}"
    assert status != 0 or out.count("done") == 2, f"{told}, without both ranks' ends; stderr: {err}"
    assert "Traceback" not in err, f"{told}; stderr: {err}"
    return told


def _hit(subject: Job, victims: list[str], fault: str) -> str | None:
    if subject.process.poll() is not None:
        return None
    parts = subject.parts()
    for victim in victims:
        if parts[victim] and subject.inflict(victim, fault):
            return victim
    return None
