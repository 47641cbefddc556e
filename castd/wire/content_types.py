"""Content types that mean a format castd can frame. The first of each is what listeners are told if a source declared
something else than it sends."""

from __future__ import annotations

OGG = ("audio/ogg", "application/ogg", "application/x-ogg", "video/ogg")
MPEG = ("audio/mpeg", "audio/mp3", "audio/x-mpeg", "audio/mpeg3")
WEBM = ("video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska", "application/x-matroska")
AAC = ("audio/aac", "audio/aacp", "audio/x-aac", "audio/x-aacp", "audio/x-hx-aac-adts")
