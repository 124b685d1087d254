"""`--output DIR`: a run's record, whatever came of the run, and no secret in it."""

import json
import shutil
import stat
from pathlib import Path

from tests.jobs.conftest import Bench

SECRET = "hush-hush"


def contents(folder: Path) -> str:
    """All text that the record holds."""
    return "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


def test_a_run_is_kept_with_its_options_hosts_timeline_logs_and_status(bench: Bench) -> None:
    """What one wants to know of it a week later."""
    program = ["sh", "-c", "sleep 0.5; exit 3", "--token=" + SECRET]
    result = bench.ompirun(
        *("-N", "2", "-n", "2", "--output", "kept/%x-%j", "--env", f"MINE={SECRET}", "--name", "mine"),
        *("local", *program),
    )
    assert result.status == 3, result.err
    (folder,) = (bench.folder / "kept").iterdir()
    run = json.loads((folder / "run.json").read_text())
    assert folder.name == f"mine-{run['session']}"
    assert (run["exit_status"], run["failure"], run["command"][:3]) == (3, None, program[:3])
    assert {(each["option"], each["value"], each["from"]) for each in run["settings"]} >= {
        ("--nodes", "2", "--nodes"),
        ("--mpiexec", bench.environment["ROUJIAMO_MPIEXEC"], "ROUJIAMO_MPIEXEC"),
    }
    assert [(host["name"], host["slots"]) for host in run["hosts"]] == [("agent1", 1), ("agent2", 1)]
    assert run["line"][0] == bench.environment["ROUJIAMO_MPIEXEC"]
    assert run["started"] < run["ended"]
    log = [json.loads(line) for line in (folder / "log.json").read_text().splitlines()]
    assert {each["part"] for each in log} >= {"roujiamo.run", "roujiamo.broker.session"}
    assert len((folder / "log").read_text().splitlines()) >= len(log)
    assert json.loads((folder / "timeline.json").read_text())["traceEvents"]
    assert "<svg" in (folder / "timeline.svg").read_text()
    logs = {path.name for path in (folder / "hosts").iterdir()}
    assert logs == {f"agent{number}.{stream}" for number in (1, 2) for stream in ("stdout", "stderr")}
    assert SECRET not in contents(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shutil.rmtree(bench.folder / "kept")


def test_a_launch_that_failed_has_its_record_too(bench: Bench) -> None:
    """That is when one wants it; and a record is never mixed with another."""
    line = ("--output", "kept", "127.0.0.1:1", "true")
    result = bench.ompirun("--timeout", "1", *line)
    run = json.loads((bench.folder / "kept" / "run.json").read_text())
    assert run["exit_status"] == result.status
    assert run["failure"] in result.err
    again = bench.ompirun(*line)
    assert again.status == 2
    assert again.err == (
        "ompirun.sh: --output kept: there is something in it; name another folder, or one for each run by %j\n"
    )
    # A line that failed before anything was done may be corrected and given again; the folder is nobody else's then.
    (bench.folder / "empty").mkdir(0o755)
    failed = bench.ompirun("--output", "empty", "--log-file", "/no/such/x", "127.0.0.1:1", "true")
    assert (failed.status, "--log-file /no/such/x: cannot be written" in failed.err) == (2, True)
    assert list((bench.folder / "empty").iterdir()) == []
    assert stat.S_IMODE((bench.folder / "empty").stat().st_mode) == 0o700
    shutil.rmtree(bench.folder / "empty")
    assert bench.ompirun("--output", "a%q", "local", "true").err.startswith("ompirun.sh: --output a%q: %q is")
    shutil.rmtree(bench.folder / "kept")
