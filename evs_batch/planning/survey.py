"""What a manifest asks for: all of its rows, and the videos of some of them."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from evs_batch.media.probe import probe
from evs_batch.spec.errors import EvsError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.video import VideoFacts
from evs_batch.spec.work import Clip
from evs_batch.store import storage
from evs_batch.store.reading import Manifest

LOOKS_AT_ONCE = 8
_BRACKETS = re.compile(r" ?\(.*\)")


@dataclass(frozen=True, kw_only=True)
class Survey:
    """`good` of `rows` are clips; `problems` counts the others by what is wrong, and of the videos that were looked at
    those that cannot be read, which are `of_videos`. `found` are the others, evenly spread."""

    rows: int
    good: int
    looked: int
    found: tuple[tuple[Clip, VideoFacts], ...]
    problems: Counter[str]
    of_videos: Counter[str]

    @property
    def readable(self) -> int:
        """Clips whose videos can be read, as far as those show that were looked at."""
        return round(self.good * len(self.found) / self.looked) if self.looked else 0

    @property
    def whole(self) -> bool:
        """Whether every video was looked at."""
        return self.looked == self.good


def look(manifest: Manifest, recipe: Recipe, limit: int | None, videos: int) -> Survey:
    """Read the first `limit` rows, and so many videos of them: packet headers and first frames, no more."""
    rows = min(limit or manifest.rows, manifest.rows)
    wanted = {number * rows // videos for number in range(videos)} if videos < rows else range(rows)
    chosen, problems, good = list[Clip](), Counter[str](), 0
    for row in islice(manifest, rows):
        try:
            if row.error or row.clip is None:
                raise row.error or AssertionError("a row is a clip or an error")
            recipe.at(row.clip.strength)
        except EvsError as error:
            problems[_kind(error)] += 1
            continue
        good += 1
        chosen += [row.clip] if row.number in wanted else []
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        looks = list(pool.map(lambda clip: _facts(clip, recipe), chosen))
    of_videos = Counter(_kind(look) for look in looks if isinstance(look, EvsError))
    problems.update(of_videos)
    found = [(clip, look) for clip, look in zip(chosen, looks, strict=True) if isinstance(look, VideoFacts)]
    return Survey(rows=rows, good=good, looked=len(chosen), found=tuple(found), problems=problems, of_videos=of_videos)


def _kind(error: EvsError) -> str:
    """Equal for equal causes: without what stands in brackets, which names the file."""
    return f"{type(error).__name__}: {_BRACKETS.sub('', error.rule)}"


def _facts(clip: Clip, recipe: Recipe) -> VideoFacts | EvsError:
    try:
        with storage.open_input(clip.uri) as file:
            return probe(file, recipe.output, recipe.input)
    except EvsError as error:
        return error
