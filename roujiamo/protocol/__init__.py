"""The wire, as pure code: no socket, clock, thread or logging in here; randomness is an argument.

Both ends of each connection are the same state machines, so the tests join two of them back to back. It is imported
by the shim and travels to the agents inside the proxy: Python 3.6, and only modules that load in no time.
"""
