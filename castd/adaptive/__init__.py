"""Segments to players: HLS, DASH, groups of mounts, and the sessions of those who listen that way."""
