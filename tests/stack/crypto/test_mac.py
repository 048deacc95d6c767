"""HMAC against the standard library's."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.crypto.mac import hmac_digest


@pytest.mark.parametrize("hash_name", ["sha256", "sha384"])
@given(key=st.binary(max_size=300), message=st.binary(max_size=300))
def test_it_is_hmac(hash_name: str, key: bytes, message: bytes) -> None:
    assert hmac_digest(hash_name, key, message) == hmac.digest(key, message, hash_name)


@pytest.mark.parametrize(("hash_name", "block"), [("sha256", 64), ("sha384", 128)])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_keys_about_the_size_of_a_block(hash_name: str, block: int, more: int) -> None:
    key = bytes(range(1, 1 + block + more))
    assert hmac_digest(hash_name, key, b"message") == hmac.digest(key, b"message", hash_name)
