"""Shards of a run, (i, n), and the names of what each of them keeps for itself."""

Shard = tuple[int, int]
WHOLE: Shard = (1, 1)


def name(kind: str, shard: Shard, ending: str = ".json") -> str:
    """Of a shard's file of a kind; the whole run is no shard."""
    return f"{kind}{ending}" if shard == WHOLE else f"{kind}-{shard[0]}-of-{shard[1]}{ending}"
