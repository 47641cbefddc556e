"""castd.toml and CASTD_* variables as frozen dataclasses; each part of castd receives only its own section."""

from castd.config.current import Current
from castd.config.loader import load
from castd.config.model import (
    Alias,
    Auth,
    Bans,
    Certificate,
    Config,
    Delivery,
    Dj,
    Files,
    Hook,
    Limits,
    Listen,
    Logs,
    MountSettings,
    Pace,
    Proxies,
    Server,
    Sessions,
    Shoutcast,
    Tls,
    UrlAuth,
)
from castd.config.names import mount_name
from castd.config.shipped import reference_config, share

__all__ = [
    "Alias",
    "Auth",
    "Bans",
    "Certificate",
    "Config",
    "Current",
    "Delivery",
    "Dj",
    "Files",
    "Hook",
    "Limits",
    "Listen",
    "Logs",
    "MountSettings",
    "Pace",
    "Proxies",
    "Server",
    "Sessions",
    "Shoutcast",
    "Tls",
    "UrlAuth",
    "load",
    "mount_name",
    "reference_config",
    "share",
]
