"""Bytes to values and back, one module a format; no I/O, no clock, no log."""
