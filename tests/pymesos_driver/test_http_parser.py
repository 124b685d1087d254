"""Our parser answers as http_parser.http.HttpParser does where pymesos asks it."""

from roujiamo.pymesos_driver.http_parser import HttpParser

STREAM = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: s-1\r\n\r\n"
    b'17\r\n20\n{"type":"HEARTBEAT"}\r\n'
)


def test_an_event_stream_is_read_as_pymesos_reads_it() -> None:
    """The order of questions in pymesos/process.py, Connection.read, with each byte a read of its own."""
    parser = HttpParser()
    body = b""
    for index in range(len(STREAM)):
        assert parser.execute(STREAM[index : index + 1], 1) == 1
        if parser.is_partial_body():
            body += parser.recv_body()
    assert parser.is_headers_complete()
    assert parser.get_status_code() == 200
    assert parser.is_chunked()
    assert {name.upper(): value for name, value in parser.get_headers().items()}["MESOS-STREAM-ID"] == "s-1"
    assert body == b'20\n{"type":"HEARTBEAT"}'
    assert not parser.is_message_complete()
    assert not parser.is_partial_body()
    assert parser.execute(b"0\r\n\r\n", 5) == 5
    assert parser.is_message_complete()


def test_events_are_given_out_whole() -> None:
    """pymesos would copy what it has of an event for each piece that comes."""
    parser = HttpParser()
    parser.execute(STREAM, len(STREAM))
    parser.recv_body()
    record = b"x" * 100_000
    body = b"%d\n%b" % (len(record), record)
    stream = b"%x\r\n%b\r\n" % (len(body), body)
    for start in range(0, len(stream), 4096):
        piece = stream[start : start + 4096]
        assert not parser.is_partial_body()
        assert parser.execute(piece, len(piece)) == len(piece)
    assert parser.recv_body() == body


def test_what_is_no_record_is_an_error_of_the_stream() -> None:
    """Not of HTTP: the two mean different things to the user."""
    parser = HttpParser()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parser.execute(head + b"6\r\n<html>\r\n", len(head) + 11) == 0
    assert parser.get_errno() == 1
    assert parser.stream_failure is not None
    assert parser.response.failure is None


def test_only_so_many_bytes_as_are_named_are_read() -> None:
    """The signature is a buffer and a length."""
    parser = HttpParser()
    assert parser.execute(STREAM, 10) == 10
    assert not parser.is_headers_complete()
    assert parser.get_status_code() == 0


def test_an_error_is_fewer_bytes_taken_and_a_number() -> None:
    """pymesos takes an attribute `errno` for the mark of another parser, so there is none."""
    parser = HttpParser()
    assert parser.get_errno() == 0
    assert parser.execute(b"SSH-2.0-OpenSSH\r\n", 17) < 17
    assert parser.get_errno() == 1
    assert not hasattr(parser, "errno")


def test_no_bytes_are_the_end_of_the_connection() -> None:
    """As http_parser has it."""
    parser = HttpParser()
    parser.execute(b"HTTP/1.1 200 OK\r\n\r\nrest", 23)
    assert parser.recv_body() == b"rest"
    assert parser.last_body == b"rest"
    assert not parser.is_message_complete()
    assert parser.execute(b"", 0) == 0
    assert parser.is_message_complete()
