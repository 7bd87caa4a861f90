import pickle

import pytest

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


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sftp://me:sesame@host/a.mp4", "sftp://***@host/a.mp4"),
        ("ftp://:sesame@host:21/a:b@c.mp4", "ftp://***@host:21/a:b@c.mp4"),
        ("https://host/a.mp4?X-Amz-Signature=sesame&x=1", "https://host/a.mp4?***&x=1"),
        ("https://host/a.mp4?v=1&sig=sesame%3D", "https://host/a.mp4?v=1&***"),
        ("zip://a.mp4::https://me:ses@ame@host/a.zip", "zip://a.mp4::https://***@host/a.zip"),
        ("s3://bucket/a:b@c.mp4", "s3://bucket/a:b@c.mp4"),
    ],
)
def test_secrets_in_addresses_are_not_shown(address: str, shown: str):
    assert str(MediaError(address, f"cannot be opened ({address})", "check it")).count(shown) == 2
    assert "sesame" not in str(MediaError(address, f"cannot be opened ({address})", "check it"))
