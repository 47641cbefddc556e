"""What castd.wire.silence says when it knows of none."""


class Unmakeable(ValueError):
    """There is no silence like this stream; the message completes "it ..."."""
