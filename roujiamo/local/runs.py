"""What an agent keeps of each task: what it was told to run, what became of it, and what the framework knows of that.

Part of an agent process. A run is settled when its framework has acknowledged its last update; until then an agent
tells every new master of it. Runs of frameworks that checkpoint are also written below the agent's work folder, as
in Mesos, so that an agent that is started again finds them.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roujiamo.local import sandbox
from roujiamo.local.links import Link
from roujiamo.mesos.task_states import TERMINAL_STATES


@dataclass
class Run:
    """One task on this agent, running or over."""

    place: sandbox.Place
    framework: dict[str, Any]
    info: dict[str, Any]
    statuses: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: int = 0
    executor_pid: int = 0
    link: Link | None = None
    # A kill, with its grace in seconds, from before there was a link.
    early_kill: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.place.framework_id, self.place.executor_id

    @property
    def task_id(self) -> str:
        return self.place.executor_id

    @property
    def state(self) -> str:
        return str(self.statuses[-1]["state"]) if self.statuses else "TASK_STAGING"

    @property
    def is_over(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def is_settled(self) -> bool:
        """Over, and its framework knows."""
        return self.is_over and self.acknowledged == len(self.statuses)

    @property
    def is_checkpointed(self) -> bool:
        return bool(self.framework["checkpoint"])

    def acknowledge(self, uuid: str) -> None:
        """Note that the framework has acknowledged an update; updates are acknowledged in order."""
        if self.acknowledged < len(self.statuses) and self.statuses[self.acknowledged]["uuid"] == uuid:
            self.acknowledged += 1

    def as_json(self) -> dict[str, Any]:
        return {
            "framework": self.framework,
            "task": self.info,
            "container_id": self.place.container_id,
            "statuses": self.statuses,
            "acknowledged": self.acknowledged,
            "executor_pid": self.executor_pid,
        }


class Checkpoints:
    """The files below an agent's work folder: `meta/agent.json`, and `meta/CONTAINER_ID.json` for each run."""

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._folder = work_dir / "meta"

    def clear(self) -> None:
        """Forget an agent that was here before: this is another one."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def save_agent(self, agent_id: str, port: int) -> None:
        self._write("agent", {"id": agent_id, "port": port})

    def load_agent(self) -> tuple[str, int]:
        """The agent's id and its port; ("", 0) where there was none."""
        try:
            agent = json.loads((self._folder / "agent.json").read_bytes())
        except OSError:
            return "", 0
        return agent["id"], agent["port"]

    def save(self, run: Run) -> None:
        """Write a run down, where its framework wants that."""
        if run.is_checkpointed:
            self._write(run.place.container_id, run.as_json())

    def forget(self, run: Run) -> None:
        (self._folder / f"{run.place.container_id}.json").unlink(missing_ok=True)

    def load(self, agent_id: str) -> list[Run]:
        """The runs that an agent of that id left."""
        runs = []
        for path in sorted(self._folder.glob("*.json")):
            if path.name == "agent.json":
                continue
            saved = json.loads(path.read_bytes())
            task_id = saved["task"]["task_id"]["value"]
            place = sandbox.Place(
                self._work_dir, agent_id, saved["framework"]["id"], task_id, saved["container_id"]
            )
            run = Run(place, saved["framework"], saved["task"], saved["statuses"], saved["acknowledged"])
            run.executor_pid = saved["executor_pid"]
            runs.append(run)
        return runs

    def _write(self, name: str, content: dict[str, Any]) -> None:
        # Whole or not at all: the agent may be killed at any moment.
        # What a task carries is in there, its first-contact token too.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._folder / f"{name}.new"
        new.write_text(json.dumps(content), encoding="utf-8")
        os.replace(new, self._folder / f"{name}.json")
