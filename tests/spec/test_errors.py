import pickle

from evs_batch.spec.errors import MediaError, nearest


def test_an_error_has_value_rule_and_fix_and_crosses_processes():
    error = pickle.loads(pickle.dumps(MediaError("x.mp4", "is empty", "replace it")))
    assert (error.value, error.rule, error.fix) == ("x.mp4", "is empty", "replace it")
    assert str(error) == "x.mp4: is empty; replace it"


def test_the_nearest_name_is_offered_and_otherwise_all():
    assert nearest("demmo", ["demo", "identity"]) == "did you mean 'demo'?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"


def test_messages_are_safe_for_terminals_and_logs():
    error = MediaError("a\x1b[31mred\r\nforged line" + "x" * 5000, "is empty", "replace it")
    assert error.value.startswith("a\\x1b[31mred\\r\\nforged line")
    assert len(error.value) < 1100
