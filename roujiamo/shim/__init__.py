"""The shim: the process of `roujiamo-rsh`, which a launcher starts in the place of ssh.

It loads in milliseconds or it would be the slowest part of a launch: built-in modules and small C ones only, one poll
loop, no thread. Python 3.6, since it also runs inside tasks (tree spawn).
"""
