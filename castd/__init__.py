"""castd: a live-audio streaming server, compatible with Icecast and SHOUTcast."""

__version__ = "0.1.0"
