"""The operating system as the programs need it: processes and their trees, sockets, folders (layer 2).

`processes` also travels to the agents inside the proxy and runs on Python 3.6; the other modules stay on the
submitting side.
"""
