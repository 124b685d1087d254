"""Terminal pictures for the documents: commands typed into a real terminal (tmux), and its screen drawn as SVG.

Run by hand, as root, when what is shown has changed: `python -m tests.docs.picture`. The terminal lives in namespaces
of its own with a local cluster in them, so that the master may be called mesos-master:5050 there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from tests.docs.pages import DOCS, ROOT
from tests.support import open_mpis, until

COLUMNS = 100
ADDRESS = "192.0.2.1"
# Where the clone is in the terminal's namespace, and its Python.
CLONE = "/opt/roujiamo"
PYTHON = f"{CLONE}/.venv/bin/python3"
PROMPT = "$ "
# A character's width, a line's height, and the room around them, in pixels.
WIDTH, HEIGHT, MARGIN, TITLE = 8.4, 19, 16, 28
FOREGROUND, BACKGROUND, BAR = "#d8dee9", "#1e222a", "#2b303b"
COLOURS = {
    "31": "#e06c75",
    "32": "#98c379",
    "33": "#e5c07b",
    "34": "#61afef",
    "35": "#c678dd",
    "36": "#56b6c2",
}
FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
ESCAPE = re.compile(r"\x1b\[([\d;]*)m")

# Each picture: what is typed, one line after another. `…` waits for what stands behind it, and is not shown.
PICTURES = {
    "run": (
        "ompirun.sh -N 2 -n 4 mesos-master:5050 ./a.out",
        "ompirun.sh -q -N 2 -n 4 mesos-master:5050 ./simulate &",
        "…2 hosts are busy",
        "roujiamo status",
    ),
    "doctor": ("roujiamo doctor --trial --master mesos-master:5050",),
}


def main() -> None:
    """Draw the pictures that are named, or all of them."""
    for name in sys.argv[1:] or PICTURES:
        (DOCS / f"{name}.svg").write_text(svg(screen(PICTURES[name])))


def screen(lines: tuple[str, ...]) -> list[str]:
    """The screen, with its colours, after these lines have been typed."""
    with tempfile.TemporaryDirectory(prefix="rj-") as name:
        folder = Path(name)
        _prepare(folder)
        socket = folder / "tmux"
        inside = ["unshare", "--mount", "--net", "sh", str(folder / "inside"), str(socket)]
        with subprocess.Popen([*inside, str(COLUMNS)], env=_environment(folder), cwd=folder) as server:
            try:
                return _typed(socket, folder, lines)
            finally:
                subprocess.run(["tmux", "-S", socket, "kill-server"])
                server.wait(60)


def _prepare(folder: Path) -> None:
    hello = f'exec {PYTHON} {CLONE}/roujiamo/examples/hello.py "$@"'
    for name, text in {
        "roujiamo": f'exec {PYTHON} -m roujiamo "$@"',
        "a.out": hello,
        "simulate": "exec sleep 600",
        "inside": f"""
            printf '127.0.0.1 localhost\\n{ADDRESS} mesos-master %s\\n' "$(hostname)" >hosts
            mount --bind hosts /etc/hosts
            mount -t tmpfs none /opt
            mkdir /opt/openmpi /opt/roujiamo /opt/tmp
            mount --bind {Path(open_mpis()[0].mpiexec).parents[1]} /opt/openmpi
            mount --bind {ROOT} /opt/roujiamo
            mkdir tmp
            mount --bind tmp /opt/tmp
            ip link set lo up
            # Open MPI's ranks do not talk over loopback.
            ip link add one type veth peer name other
            ip addr add {ADDRESS}/24 dev one
            ip link set one up
            ip link set other up
            {PYTHON} -m roujiamo local --host {ADDRESS} --agents 3 --port 5050 >cluster &
            until grep -q "master " cluster; do sleep 0.1; done
            tmux -S "$1" -f /dev/null new-session -d -x "$2" -y 40 'bash --noprofile --rcfile rc'
            tmux -S "$1" wait-for end
            kill $!
            wait
        """,
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    (folder / "rc").write_text(f"PS1='{PROMPT}'\n")


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{folder}:{CLONE}/bin:/opt/openmpi/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PYTHONPATH": CLONE,
        "ROUJIAMO_PYTHON": PYTHON,
        "ROUJIAMO_PREFIX": "/opt/openmpi",
        # Only the sessions of the picture.
        "TMPDIR": "/opt/tmp",
        "XDG_RUNTIME_DIR": "",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }


def _typed(socket: Path, folder: Path, lines: tuple[str, ...]) -> list[str]:
    def tmux(*words: str) -> str:
        done = subprocess.run(["tmux", "-S", socket, *words], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def shown() -> list[str]:
        return tmux("capture-pane", "-p", "-e").rstrip().split("\n")

    def is_at_prompt() -> bool:
        return ESCAPE.sub("", shown()[-1]).rstrip() == PROMPT.rstrip()

    until(is_at_prompt, 60, "the terminal's prompt")
    try:
        for line in lines:
            if line.startswith("…"):
                busy = f"{sys.executable} -m roujiamo status | grep -c 'ready, 2 slots, [2-9]'"
                until(lambda: _output(busy, folder) == "2", 60, line)
                continue
            before = shown()
            tmux("send-keys", "-l", line)
            tmux("send-keys", "Enter")
            until(lambda: shown() != before and is_at_prompt(), 120, f"the end of {line!r}")
        return shown()
    finally:
        tmux("wait-for", "-S", "end")


def _output(command: str, folder: Path) -> str:
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "XDG_RUNTIME_DIR": ""}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, cwd=ROOT)
    return done.stdout.strip()


def svg(lines: list[str]) -> str:
    """A screen's lines as a picture of a terminal."""
    width = round(COLUMNS * WIDTH + 2 * MARGIN)
    height = len(lines) * HEIGHT + 2 * MARGIN + TITLE
    dots = "".join(
        f'<circle cx="{MARGIN + 4 + 18 * number}" cy="{TITLE // 2}" r="5" fill="{colour}"/>'
        for number, colour in enumerate(("#e06c75", "#e5c07b", "#98c379"))
    )
    texts = "\n".join(
        f'<text x="{MARGIN}" y="{TITLE + MARGIN + number * HEIGHT + 13}">{"".join(_spans(line))}</text>'
        for number, line in enumerate(lines)
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<!-- Captured from a terminal by `python -m tests.docs.picture`. -->
<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>
<path d="M0 {TITLE}V8a8 8 0 0 1 8-8H{width - 8}a8 8 0 0 1 8 8V{TITLE}z" fill="{BAR}"/>{dots}
<g font-family="{FONT}" font-size="14" fill="{FOREGROUND}" xml:space="preserve">
{texts}
</g>
</svg>
"""


def _spans(line: str) -> Iterator[str]:
    """The line's pieces of one style, each at its place, whatever font draws them."""
    column = 0
    style = ""
    pieces = ESCAPE.split(line.rstrip())
    # Text and the codes in front of the next text, by turns.
    for number, piece in enumerate(pieces):
        if number % 2:
            style = _style(piece.split(";"), style)
        elif piece:
            x, length = MARGIN + column * WIDTH, len(piece) * WIDTH
            yield f'<tspan x="{x:.1f}" textLength="{length:.1f}"{style}>{escape(piece)}</tspan>'
            column += len(piece)


def _style(codes: list[str], before: str) -> str:
    style = before
    for code in codes:
        if code in ("", "0", "39"):
            style = ""
        elif code == "1":
            style += ' font-weight="bold"'
        elif code == "2":
            style += ' fill-opacity="0.6"'
        elif code in COLOURS:
            style += f' fill="{COLOURS[code]}"'
    return style


if __name__ == "__main__":
    os.environ.pop("TMUX", None)
    main()
