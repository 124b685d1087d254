"""RecordIO: how a Mesos master cuts its event stream into events.

Used by the driver (events from a master) and by the local cluster (events to a scheduler). A record is its length in
decimal, a newline, and so many bytes; there is nothing between records. The reader trusts nobody: a length is bounded
before its record is waited for, and a stream that is not RecordIO is an error at its first wrong byte.

    b'121\\n{"type": "SUBSCRIBED", ...' b'20\\n{"type":"HEARTBEAT"}' ...
"""

from roujiamo.errors import ProtocolError

# A master's OFFERS event names every agent of the cluster once: 10,000 agents of 2 kB each are 20 MB.
MAX_RECORD = 64 << 20


def encode(record: bytes) -> bytes:
    """Return `record` as it stands in a RecordIO stream."""
    return b"%d\n%b" % (len(record), record)


class RecordIODecoder:
    """Takes a stream in pieces of any size and gives back its records.

    Feed `receive_data`; at the stream's end `is_between_records` tells whether it was cut inside a record.
    """

    def __init__(self, max_record: int = MAX_RECORD) -> None:
        self._max_record = max_record
        self._max_digits = len(str(max_record))
        self._buffer = bytearray()
        self._length: int | None = None
        self._failure: str | None = None

    @property
    def is_between_records(self) -> bool:
        """True where the stream may end without having lost anything."""
        return self._length is None and not self._buffer

    def receive_data(self, data: bytes) -> list[bytes]:
        """Return the records that `data` completes, oldest first.

        Raises ProtocolError where the stream is not RecordIO or a record is too long; once it has, it does so at every
        further call, since nothing behind the error can be trusted.
        """
        if self._failure is not None:
            raise ProtocolError(self._failure)
        self._buffer += data
        records: list[bytes] = []
        position = 0
        while True:
            if self._length is None:
                # One byte more than the largest length has digits: beyond it there is no newline to hope for.
                end = self._buffer.find(b"\n", position, position + self._max_digits + 1)
                digits = bytes(self._buffer[position : end if end >= 0 else position + self._max_digits + 1])
                self._check(digits, is_complete=end >= 0)
                if end < 0:
                    break
                self._length = int(digits)
                position = end + 1
            if len(self._buffer) - position < self._length:
                break
            records.append(bytes(self._buffer[position : position + self._length]))
            position += self._length
            self._length = None
        del self._buffer[:position]
        return records

    def _check(self, digits: bytes, is_complete: bool) -> None:
        """Refuse `digits` (all that is there of a record's length so far) where they cannot be a length."""
        # bytes.isdigit knows ASCII digits only, unlike str.isdigit.
        if (digits or is_complete) and not digits.isdigit():
            self._fail(f"the event stream is not RecordIO: {digits!r} stands where a record's length should")
        if len(digits) > self._max_digits or (digits and int(digits) > self._max_record):
            self._fail(f"the event stream holds a record longer than {self._max_record} bytes")

    def _fail(self, sentence: str) -> None:
        self._buffer.clear()
        self._failure = sentence
        raise ProtocolError(sentence)
