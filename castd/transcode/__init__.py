"""Renditions: a mount's stream in another codec or bitrate at another mount, made by a child process.

renditions: all of them, and who wants which. rendition: one, from a tap on the one mount to a source of the other.
backlog: what waits to be encoded. messages: what server and child say to each other. __main__: the child. decoding,
encoding: what it does.
"""
