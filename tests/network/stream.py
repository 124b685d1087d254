"""Sends blocks through a command and holds what comes back against them: `stream.py FILE COMMAND…`.

Run by tests in the place of a user's program that streams. When FILE is there it ends, with 0 and a line that
says how much went round.
"""

import hashlib
import os
import subprocess
import sys
import threading
import time

command = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert command.stdin is not None
assert command.stdout is not None
sent, received = hashlib.sha256(), hashlib.sha256()
counts = [0, 0]
came_back, back = threading.Event(), command.stdout


def read() -> None:
    while piece := os.read(back.fileno(), 1 << 16):
        received.update(piece)
        counts[1] += len(piece)
        if not came_back.is_set():
            print("streaming", flush=True)
            came_back.set()


reader = threading.Thread(target=read)
reader.start()
while not os.path.exists(sys.argv[1]):
    block = os.urandom(1 << 15)
    sent.update(block)
    counts[0] += len(block)
    command.stdin.write(block)
    command.stdin.flush()
    time.sleep(0.01)
command.stdin.close()
reader.join()
status = command.wait()
if status or counts[0] != counts[1] or sent.digest() != received.digest():
    sys.exit(f"status {status}; {counts[0]} bytes were sent, {counts[1]} came back, or others")
print(f"{counts[0]} bytes came back unchanged", flush=True)
