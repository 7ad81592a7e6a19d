"""The secret of a folder of results: keys that cannot be guessed back to names."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat

import pytest

from medssm_monai.apps.bulk.secret import KeyedSource, keyed, secret_of
from medssm_monai.apps.bulk.sources import ImageFolder
from medssm_monai.apps.bulk.study import digest

from .pictures import write_pictures


def test_keys_are_those_of_the_secret_and_none_that_names_alone_give(tmp_path):
    source = ImageFolder(write_pictures(tmp_path / "in", 3))
    one, other = (list(KeyedSource(source, secret)) for secret in ("a" * 32, "b" * 32))
    guesses = {digest(study.name) for study in source} | {
        hashlib.sha256(study.name.encode()).hexdigest()[:20] for study in source
    }
    found = {text for study in (*one, *other) for text in (study.key, study.stamp)}
    assert len(found) == 12 and not found & guesses
    plain = [study.key for study in source]
    assert (
        [study.key for study in one]
        == [hmac.digest(b"a" * 32, key.encode(), "sha256").hex()[:20] for key in plain]
        == [study.key for study in KeyedSource(source, "a" * 32)]
    )
    assert [(study.name, study.files) for study in one] == [(study.name, study.files) for study in source]


def test_the_secret_is_made_once_and_its_owner_alone_reads_it(tmp_path):
    first = secret_of(tmp_path)
    assert len(first) == 32 and secret_of(tmp_path) == first == secret_of(tmp_path, made=False)
    (tmp_path / "other").mkdir()
    assert secret_of(tmp_path / "other") != first
    assert keyed(first, "Ä\udce9") != keyed(first, "A")  # whatever a file may be called
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "run.id").stat().st_mode) == 0o600


def test_a_secret_that_is_gone_or_damaged_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="is gone, without which the results .* put it back, or name another"):
        secret_of(tmp_path, made=False)
    (tmp_path / "run.id").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="is damaged; put it back"):
        secret_of(tmp_path)
