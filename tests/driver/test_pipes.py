"""The driver's pipes: lines however they are cut, and never a wait for a reader."""

import json
import logging
import os
import select
from collections.abc import Iterator

import pytest

from roujiamo.driver.pipes import DroppingHandler, LineReader, LineWriter
from roujiamo.errors import ProtocolError

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """Both ends of one; a test that closes an end takes it out of the list."""
    ends = list(os.pipe())
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.mark.parametrize("step", [1, 3, 100])
def test_lines_come_whole_however_they_are_cut(pipe: list[int], step: int) -> None:
    """Empty ones are nothing."""
    reader = LineReader(pipe[0], 100)
    text = b'{"a": 1}\n\n  \n{"b": 2}\r\n{"c": 3}\n{"d'
    lines = []
    for start in range(0, len(text), step):
        os.write(pipe[1], text[start : start + step])
        lines += reader.read()
    assert [json.loads(line) for line in lines] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert not reader.is_eof
    os.close(pipe.pop())
    assert reader.read() == []
    assert reader.is_eof


def test_a_line_without_an_end_is_refused(pipe: list[int]) -> None:
    """It would be stored until it had one."""
    reader = LineReader(pipe[0], 100)
    os.write(pipe[1], b"x" * 101)
    with pytest.raises(ProtocolError, match="longer than 100"):
        reader.read()


def test_a_reader_that_stops_makes_nobody_wait(pipe: list[int]) -> None:
    """What it does not take is counted, and comes out in order once it reads."""
    writer = LineWriter(pipe[1])
    lines = [b"%d" % n * 1000 + b"\n" for n in range(200)]
    for line in lines:
        writer.write(line)
        writer.flush()
    assert 0 < writer.pending_bytes < sum(map(len, lines))
    got = b""
    while len(got) < sum(map(len, lines)):
        got += os.read(pipe[0], 65536)
        writer.flush()
    assert got == b"".join(lines)
    assert writer.pending_bytes == 0


def test_a_reader_that_is_gone_is_noticed_and_costs_nothing(pipe: list[int]) -> None:
    """A killed broker."""
    writer = LineWriter(pipe[1])
    os.close(pipe.pop(0))
    writer.write(b"x\n")
    writer.flush()
    assert writer.is_broken
    writer.write(b"y\n")
    assert writer.pending_bytes == 0


def test_a_log_that_nobody_reads_loses_lines_and_no_time(pipe: list[int]) -> None:
    """Its pipe fills up; the driver goes on."""
    handler = DroppingHandler(pipe[1])
    record = logging.LogRecord("n", logging.INFO, "p", 1, "x" * 1000, None, None)
    for _ in range(200):
        handler.emit(record)
    assert not select.select([], [pipe[1]], [], 0)[1]
    assert os.read(pipe[0], 100).startswith(b"roujiamo driver: xxx")
