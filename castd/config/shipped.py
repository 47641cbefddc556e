"""The files castd ships beside its code: the page and the reference configuration."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

CHECKOUT_PLACES = {"web": Path("web"), "castd.toml": Path("etc/castd.toml")}
"""Where a checkout keeps what pyproject.toml's force-include puts into castd/share of a wheel."""


def share(name: str) -> Path:
    """The path of a shipped file or directory.

    Args:
        name: "web" or "castd.toml".

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for path in (PACKAGE / "share" / name, PACKAGE.parent / CHECKOUT_PLACES[name]):
        if path.exists():
            return path
    raise FileNotFoundError(f"castd is installed incompletely: {name} is missing beside {PACKAGE}")


def reference_config() -> Path:
    """The path of the castd.toml that explains every key."""
    return share("castd.toml")
