"""One process hands everything over to the next: sockets, rings, listeners and sources, over a Unix socket.

`giving` is the old process's part, `taking` the new one's; `messages` is what they say and `channel` how.

The old one starts the new one and goes on with its work until that says Ready. Then it accepts nobody any more, lets
requests that are being answered be answered, and holds sources between two bytes. What follows is done in one go, with
nothing else running: everything is told and its descriptors are passed; the new one says Taken, is told Go, and from
then on it is the server. Whatever goes wrong before, the old one goes on as if nothing had been.
"""
