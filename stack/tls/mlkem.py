"""ML-KEM-768 encapsulation from given randomness (FIPS 203), which the crypto library does not offer.

Exact, but slow and not constant-time: for seeded simulations only.
"""

import hashlib
from typing import Final

KEY_LENGTH: Final = 1184  # bytes of an encapsulation key
CIPHERTEXT_LENGTH: Final = 1088

_N: Final = 256
_Q: Final = 3329
_K: Final = 3
_POLYNOMIAL: Final = 384  # bytes, with 12 bits a coefficient
_ZETAS: Final = tuple(pow(17, int(f"{index:07b}"[::-1], 2), _Q) for index in range(128))
_GAMMAS: Final = tuple(pow(17, 2 * int(f"{index:07b}"[::-1], 2) + 1, _Q) for index in range(128))

Polynomial = list[int]


def encapsulate(key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """Return shared secret and ciphertext for an encapsulation key and 32 random bytes (FIPS 203 algorithm 17).

    Raises ValueError for a key with a coefficient that is not reduced.
    """
    digest = hashlib.sha3_512(randomness + hashlib.sha3_256(key).digest()).digest()
    return digest[:32], _encrypt(key, randomness, digest[32:])


def _encrypt(key: bytes, message: bytes, coins: bytes) -> bytes:
    """K-PKE.Encrypt (FIPS 203 algorithm 14)."""
    t = [_decode12(key[_POLYNOMIAL * index : _POLYNOMIAL * (index + 1)]) for index in range(_K)]
    rho = key[_POLYNOMIAL * _K :]
    noise = [_noise(coins, counter) for counter in range(2 * _K + 1)]
    y = [_ntt(polynomial) for polynomial in noise[:_K]]
    ciphertext = b""
    for column in range(_K):
        products = [_multiply(_uniform(rho, column, row), y[row]) for row in range(_K)]
        u = _add(_inverse_ntt(_add(*products)), noise[_K + column])
        ciphertext += _compress(u, 10)
    bits = int.from_bytes(message, "little")
    mu = [(bits >> index & 1) * ((_Q + 1) // 2) for index in range(_N)]
    v = _add(_inverse_ntt(_add(*(_multiply(t[row], y[row]) for row in range(_K)))), noise[2 * _K], mu)
    return ciphertext + _compress(v, 4)


def _add(*polynomials: Polynomial) -> Polynomial:
    return [sum(coefficients) % _Q for coefficients in zip(*polynomials, strict=True)]


def _decode12(data: bytes) -> Polynomial:
    bits = int.from_bytes(data, "little")
    polynomial = [bits >> 12 * index & 0xFFF for index in range(_N)]
    if max(polynomial) >= _Q:
        raise ValueError("a coefficient is not reduced")
    return polynomial


def _compress(polynomial: Polynomial, bits: int) -> bytes:
    """ByteEncode of Compress (FIPS 203 section 4.2.1)."""
    value = 0
    for index, coefficient in enumerate(polynomial):
        value |= (((coefficient << bits + 1) + _Q) // (2 * _Q) & (1 << bits) - 1) << bits * index
    return value.to_bytes(32 * bits, "little")


def _uniform(rho: bytes, row: int, column: int) -> Polynomial:
    """An entry of the public matrix, in the NTT domain (algorithm 7)."""
    stream = hashlib.shake_128(rho + bytes((row, column))).digest(3 * 1024)  # three times what is ever seen
    polynomial: Polynomial = []
    position = 0
    while len(polynomial) < _N:
        low, middle, high = stream[position : position + 3]
        position += 3
        for value in (low | (middle & 15) << 8, middle >> 4 | high << 4):
            if value < _Q and len(polynomial) < _N:
                polynomial.append(value)
    return polynomial


def _noise(coins: bytes, counter: int) -> Polynomial:
    """A small polynomial from the centred binomial distribution with eta 2 (algorithm 8)."""
    bits = int.from_bytes(hashlib.shake_256(coins + bytes((counter,))).digest(128), "little")
    return [((bits >> 4 * i & 3).bit_count() - (bits >> 4 * i + 2 & 3).bit_count()) % _Q for i in range(_N)]


def _ntt(polynomial: Polynomial) -> Polynomial:
    """The number-theoretic transform (algorithm 9)."""
    result = list(polynomial)
    index, length = 1, 128
    while length >= 2:
        for start in range(0, _N, 2 * length):
            zeta = _ZETAS[index]
            index += 1
            for j in range(start, start + length):
                product = zeta * result[j + length] % _Q
                result[j + length] = (result[j] - product) % _Q
                result[j] = (result[j] + product) % _Q
        length //= 2
    return result


def _inverse_ntt(polynomial: Polynomial) -> Polynomial:
    """Back from the NTT domain (algorithm 10)."""
    result = list(polynomial)
    index, length = 127, 2
    while length <= 128:
        for start in range(0, _N, 2 * length):
            zeta = _ZETAS[index]
            index -= 1
            for j in range(start, start + length):
                value = result[j]
                result[j] = (value + result[j + length]) % _Q
                result[j + length] = zeta * (result[j + length] - value) % _Q
        length *= 2
    return [coefficient * 3303 % _Q for coefficient in result]


def _multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    """The product of two polynomials in the NTT domain (algorithms 11 and 12)."""
    result = [0] * _N
    for i, gamma in enumerate(_GAMMAS):
        a0, a1, b0, b1 = a[2 * i], a[2 * i + 1], b[2 * i], b[2 * i + 1]
        result[2 * i] = (a0 * b0 + a1 * b1 * gamma) % _Q
        result[2 * i + 1] = (a0 * b1 + a1 * b0) % _Q
    return result
