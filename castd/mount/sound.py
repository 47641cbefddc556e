"""What can be heard of a source: how loud it is, and whether it has been silent for too long.

Somebody decodes it and tells (castd.levels); here is decided. Time is counted in decoded audio, so that neither a burst
nor a pause of the network changes how long a silence is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from castd.config import MountSettings

NOTHING_DBFS = -120.0
"""The level of digital silence, which has none; no decoder's noise is that low."""

RETURN_SECONDS = 3.0
"""A silent source that is louder than the threshold for so long without a break sounds again: a click, or a caller
hanging up, does not end a silence."""


class Sound(msgspec.Struct):
    """Of one source; also as another process goes on with it.

    Attributes:
        level_dbfs: of the last second or so, as root mean square over all channels; a full-scale square wave has 0.
            None where nobody could tell, or nobody asked.
        peak_dbfs: of the loudest sample then.
        quiet_seconds: it has been below the threshold for so long; 0.0 while it is not.
        loud_seconds: a silent source has been above it for so long.
        silent: it was below for silence_seconds, and has not come back.
        last_silence_seconds: how long its last silence was, once that is over.
    """

    level_dbfs: float | None = None
    peak_dbfs: float | None = None
    quiet_seconds: float = 0.0
    loud_seconds: float = 0.0
    silent: bool = False
    last_silence_seconds: float = 0.0

    def hear(self, level_dbfs: float | None, peak_dbfs: float | None, seconds: float, settings: MountSettings) -> bool:
        """Take what was decoded next.

        Args:
            level_dbfs, peak_dbfs: as in the attributes; None: it is not digital silence, and more is not known.
            seconds: how much audio it was.

        Returns:
            Whether `silent` changed.
        """
        self.level_dbfs, self.peak_dbfs = level_dbfs, peak_dbfs
        if level_dbfs is not None and level_dbfs < settings.silence_dbfs:
            self.loud_seconds = 0.0
            self.quiet_seconds += seconds
            changed = not self.silent and self.quiet_seconds >= settings.silence_seconds
        elif self.silent:
            self.quiet_seconds += seconds
            self.loud_seconds += seconds
            changed = self.loud_seconds >= RETURN_SECONDS
        else:
            self.quiet_seconds = 0.0
            changed = False
        if changed:
            self.silent = not self.silent
        if changed and not self.silent:
            self.last_silence_seconds = self.quiet_seconds
            self.quiet_seconds = self.loud_seconds = 0.0
        return changed
