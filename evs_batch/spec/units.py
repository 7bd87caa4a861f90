"""Times and sizes for people."""

_TIMES = (("d", 86400), ("h", 3600), ("min", 60))
_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6))


def duration(seconds: float) -> str:
    """`2 d 3 h`, `3 h 20 min`, `4 min 5 s`, `12.3 s`."""
    for (name, unit_s), (less, less_s) in zip(_TIMES, (*_TIMES[1:], ("s", 1)), strict=True):
        if seconds >= unit_s:
            count, rest = divmod(round(seconds / less_s), unit_s // less_s)
            return f"{count} {name} {rest} {less}"
    return f"{seconds:.1f} s"


def amount(size_bytes: float) -> str:
    """`1.3 GB`."""
    name, unit = next(((name, unit) for name, unit in _SIZES if size_bytes >= unit), ("kB", 1e3))
    return f"{size_bytes / unit:.1f} {name}"
