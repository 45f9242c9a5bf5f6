"""How fine files are by age: a file goes when the newest of what it holds is too old, so the oldest stays longer."""

from typing import Final

# So many files at least hold what a store keeps, and data stays at most three times such a part longer: until its file
# is closed, while it is merged with neighbours, and until somebody looks. With the default of 7 days no file is finer
# for it.
_PARTS: Final = 10
# Closing files by the second would cost more than it frees.
_FINEST_MS: Final = 2_000


def grain_ms(retention_seconds: int) -> int:
    """Return the longest time from the first to the last arrival in a file, in milliseconds."""
    return max(_FINEST_MS, retention_seconds * 1000 // _PARTS)
