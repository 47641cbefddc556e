"""How loud sources are: their streams decoded in a child process, which may crash or hang without anybody noticing.

supervisor: the server's side, sources' bytes to the child and its answers to their mounts. child: its connection to the
child process. messages: what the two say to each other. pipes: how the child reads and writes. __main__: the child.
decoders, xiph, pyav, empty_frames: what it decodes with. confine: what it gives up first.
"""
