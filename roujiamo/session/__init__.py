"""What a session is, as pure code: the request for one, and the names of its hosts.

Imported by the broker and by the programs that start one.
"""
