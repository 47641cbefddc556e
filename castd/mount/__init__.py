"""The middle: a ring of bytes with a timeline of marks; knows no protocol."""
