"""Encoder to mount: the sessions that read a source and append its frames."""
