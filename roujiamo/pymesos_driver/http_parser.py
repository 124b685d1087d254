"""Our HTTP response parser under the names of `http_parser.http.HttpParser`, the one that pymesos asks for.

Runs in the driver, in pymesos's I/O thread. pymesos reads the master's answer to SUBSCRIBE through these methods
(pymesos/process.py, Connection.read) and through no others. It looks for an attribute `errno` to tell the Python
parser of that package from the C one; there must be none here.

The body of an event stream is given out in whole records only. pymesos would put each piece behind all that it has of
an event: the offers of 10,000 agents would be copied hundreds of times, and what is no RecordIO stored for ever.
"""

from roujiamo.errors import ProtocolError
from roujiamo.mesos.http_response import ResponseParser
from roujiamo.mesos.recordio import RecordIODecoder, encode


class HttpParser:
    """One response.

    `response` is the parser beneath, `stream_failure` what is wrong with the event stream in it, `last_body` what
    `recv_body` gave last.
    """

    def __init__(self) -> None:
        self.response = ResponseParser()
        self.stream_failure: str | None = None
        self.last_body = b""
        self._records = RecordIODecoder()
        self._body = b""

    def execute(self, data: bytes, length: int) -> int:
        """Read `length` bytes; none at all is the connection's end. Fewer than given taken means an error."""
        try:
            if not length:
                self.response.receive_eof()
            taken = self.response.receive_data(data[:length])
        except ProtocolError:
            return 0
        if not self._is_stream:
            self._body += self.response.take_body()
            return taken
        try:
            self._body += b"".join(map(encode, self._records.receive_data(self.response.take_body())))
        except ProtocolError as error:
            self.stream_failure = str(error)
            return 0
        return taken

    @property
    def _is_stream(self) -> bool:
        return self.response.status == 200 and self.response.is_chunked

    def get_errno(self) -> int:
        """0 while all is well."""
        return 1 if self.response.failure or self.stream_failure else 0

    def is_headers_complete(self) -> bool:
        """Whether status and headers are final."""
        return self.response.are_headers_complete

    def get_status_code(self) -> int:
        """The status, 0 before it is known."""
        return self.response.status

    def get_headers(self) -> dict[str, str]:
        """The headers, by name; pymesos compares the names in upper case."""
        return dict(self.response.headers)

    def is_chunked(self) -> bool:
        """Whether the body comes in chunks, as a stream of events must."""
        return self.response.is_chunked

    def is_partial_body(self) -> bool:
        """Whether there are bytes for `recv_body`."""
        return bool(self._body)

    def recv_body(self) -> bytes:
        """The body's bytes since the last call."""
        self.last_body, self._body = self._body, b""
        return self.last_body

    def is_message_complete(self) -> bool:
        """Whether the whole answer has been read."""
        return self.response.is_complete
