"""Address validation tokens (RFC 9000 section 8.1)."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.crypto.tokens import NEW_TOKEN, RETRY_TOKEN, SpentTokens, Token, TokenSealer
from stack.limits import MAX_SPENT_TOKENS, NEW_TOKEN_LIFETIME_NS, RETRY_TOKEN_LIFETIME_NS
from stack.wire.versions import VERSION_1, VERSION_2

ADDRESS = ("10.0.0.1", 50_000)
OTHER_PORT = ("10.0.0.1", 50_001)
OTHER_HOST = ("10.0.0.9", 50_000)
SECRET = b"s" * 32

tokens = st.builds(
    Token,
    st.sampled_from([RETRY_TOKEN, NEW_TOKEN]),
    st.integers(0, (1 << 64) - 1),
    st.tuples(st.text(st.characters(codec="ascii"), max_size=50), st.integers(0, 65_535)),
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.just(b""),
)


def sealer(secret: bytes = SECRET, seed: int = 1) -> TokenSealer:
    return TokenSealer(secret, random.Random(seed))


@pytest.mark.requirement("rfc9000:8.1.1:1")
@given(tokens)
def test_what_was_sealed_is_opened(token: Token) -> None:
    ours = sealer()
    opened = ours.open(ours.seal(token, VERSION_1), VERSION_1)
    assert opened is not None
    assert opened._replace(nonce=b"") == token


@pytest.mark.requirement("rfc9000:8.1.4:2")
@given(tokens, st.data())
def test_an_altered_token_is_not_opened(token: Token, data: st.DataObject) -> None:
    ours = sealer()
    sealed = ours.seal(token, VERSION_1)
    position = data.draw(st.integers(0, len(sealed) - 1))
    bit = data.draw(st.integers(0, 7))
    altered = sealed[:position] + bytes((sealed[position] ^ 1 << bit,)) + sealed[position + 1 :]
    assert ours.open(altered, VERSION_1) is None


@pytest.mark.requirement("rfc9000:8.1.4:1")
@given(st.binary(max_size=200))
def test_what_we_did_not_seal_is_not_opened(data: bytes) -> None:
    assert sealer().open(data, VERSION_1) is None
    assert sealer().open(sealer(b"x" * 32).seal(Token(NEW_TOKEN, 0, ADDRESS), VERSION_1), VERSION_1) is None


@pytest.mark.requirement("rfc9369:5:2")
def test_a_token_of_another_version_is_not_opened() -> None:
    ours = sealer()
    assert ours.open(ours.seal(Token(NEW_TOKEN, 0, ADDRESS), VERSION_1), VERSION_2) is None


@pytest.mark.requirement("rfc9000:8.1.3:6")
@pytest.mark.requirement("rfc9000:8.1.3:7")
def test_two_tokens_with_the_same_content_have_nothing_in_common() -> None:
    ours = sealer()
    sealed = [ours.seal(Token(NEW_TOKEN, 5, ADDRESS), VERSION_1) for _ in range(100)]
    assert len(set(sealed)) == 100
    assert all(b"10.0.0.1" not in each for each in sealed)
    assert len({each[:4] for each in sealed}) == len({each[-4:] for each in sealed}) == 100


@pytest.mark.requirement("rfc9000:8.1.4:3")
def test_a_retry_token_is_for_one_address_and_port() -> None:
    token = Token(RETRY_TOKEN, 0, ADDRESS)
    assert [token.is_valid(address, 1) for address in (ADDRESS, OTHER_PORT, OTHER_HOST)] == [True, False, False]


@pytest.mark.requirement("rfc9000:8.1.4:4")
def test_a_new_token_is_for_one_host() -> None:
    token = Token(NEW_TOKEN, 0, ADDRESS)
    assert [token.is_valid(address, 1) for address in (ADDRESS, OTHER_PORT, OTHER_HOST)] == [True, True, False]


@pytest.mark.requirement("rfc9000:8.1.4:7")
@pytest.mark.requirement("rfc9000:8.1.3:5")
@pytest.mark.parametrize(
    ("purpose", "lifetime"), [(RETRY_TOKEN, RETRY_TOKEN_LIFETIME_NS), (NEW_TOKEN, NEW_TOKEN_LIFETIME_NS)]
)
def test_tokens_expire(purpose: int, lifetime: int) -> None:
    token = Token(purpose, 1_000, ADDRESS)
    instants = (999, 1_000, 1_000 + lifetime - 1, 1_000 + lifetime)
    assert [token.is_valid(ADDRESS, now) for now in instants] == [False, True, True, False]


@pytest.mark.requirement("rfc9000:8.1.4:6")
@pytest.mark.requirement("rfc9000:8.1.4:8")
def test_a_spent_token_is_not_spent_again() -> None:
    spent = SpentTokens()
    first, second = (Token(NEW_TOKEN, 0, ADDRESS, nonce=nonce) for nonce in (b"1", b"2"))
    assert spent.may_spend(first, 0)
    spent.spend(first)
    assert not spent.may_spend(first, NEW_TOKEN_LIFETIME_NS - 1)
    assert spent.may_spend(second, 1)


def test_the_memory_of_spent_tokens_is_bounded_and_freed_when_they_expire() -> None:
    spent = SpentTokens()
    for number in range(MAX_SPENT_TOKENS):
        token = Token(NEW_TOKEN, number, ADDRESS, nonce=number.to_bytes(4))
        assert spent.may_spend(token, number)
        spent.spend(token)
    late = Token(NEW_TOKEN, MAX_SPENT_TOKENS, ADDRESS, nonce=b"late")
    assert not spent.may_spend(late, MAX_SPENT_TOKENS)
    assert spent.may_spend(late, NEW_TOKEN_LIFETIME_NS), "the first has expired"
