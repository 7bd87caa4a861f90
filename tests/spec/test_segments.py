from hypothesis import given
from hypothesis import strategies as st

from evs_batch.spec.segments import Segments, cut
from evs_batch.spec.work import Stage

ALONE = Stage(name="t2i", role="t2i")
AROUND = Stage(name="t2v", role="t2v", around=10)
FIRST = Stage(name="t2i", role="t2i", first=True)


def test_a_clip_is_cut_into_segments_of_nearly_equal_length():
    assert [cut(130, 64).span(number) for number in range(3)] == [range(43), range(43, 86), range(86, 130)]
    assert cut(64, 64) == Segments(64, 1)


@given(st.integers(1, 500), st.integers(1, 100))
def test_every_frame_belongs_to_one_segment(frames: int, longest: int):
    segments = cut(frames, longest)
    spans = [segments.span(number) for number in range(segments.count)]
    assert [frame for span in spans for frame in span] == list(range(frames))
    assert max(map(len, spans)) <= longest
    assert max(map(len, spans)) - min(map(len, spans)) <= 1


def test_a_stage_sees_the_ends_of_the_neighbours():
    segments = Segments(96, 3)
    assert segments.seen(ALONE, 1) == ((1, range(32, 64)),)
    assert segments.seen(AROUND, 0) == ((0, range(32)), (1, range(32, 42)))
    assert segments.seen(AROUND, 1) == ((0, range(22, 32)), (1, range(32, 64)), (2, range(64, 74)))
    assert segments.seen(FIRST, 0) == ((0, range(32)),)
    assert segments.seen(FIRST, 2) == ((0, range(1)), (2, range(64, 96)))


@given(st.integers(1, 300), st.integers(1, 50), st.integers(0, 60), st.booleans(), st.data())
def test_what_is_done_is_only_gone_through_as_far_as_others_need_it(
    frames: int, longest: int, around: int, first: bool, data: st.DataObject
):
    segments = cut(frames, longest)
    stages = [
        ALONE,
        ALONE,
        Stage(name="t2v", role="t2v", around=around),
        Stage(name="b", role="t2i", first=first),
        ALONE,
    ]
    done = data.draw(st.sets(st.integers(0, segments.count - 1)))
    ends = segments.ends(stages, done)
    assert all(ends[number] == 4 for number in range(segments.count) if number not in done)
    for number, end in enumerate(ends):
        assert all(ends[lender] >= at for at in range(end) for lender in segments.lenders(stages[at], number))
        borrowers = segments.borrowers(stages[end], number)
        assert [*borrowers] == [k for k in range(segments.count) if number in segments.lenders(stages[end], k)]
        if number in done and end:
            assert any(ends[k] > end for k in borrowers), "nobody asks it to go further than it must"
    assert segments.ends(stages, ()) == (4,) * segments.count


@given(st.integers(1, 300), st.integers(1, 50), st.integers(0, 120))
def test_what_is_seen_is_all_that_is_near_and_nothing_else(frames: int, longest: int, around: int):
    segments, stage = cut(frames, longest), Stage(name="t2v", role="t2v", around=around)
    for number in range(segments.count):
        own, seen = segments.span(number), segments.seen(stage, number)
        assert [f for _, span in seen for f in span] == list(
            range(max(0, own.start - around), min(frames, own.stop + around))
        )
        assert all(frame in segments.span(lender) for lender, span in seen for frame in span)
        assert max(abs(lender - number) for lender in segments.lenders(stage, number)) <= segments.neighbours(stage)
