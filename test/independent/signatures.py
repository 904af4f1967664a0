"""ECDSA over P-256 and WebAuthn assertions, in Python's standard library. From docs/evidence-record.md, "What is signed"."""
import base64
import hashlib
import json

from verify_log import ed25519_verify, sha256

ED25519 = bytes.fromhex("302a300506032b6570032100")
P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    (x1, y1), (x2, y2) = a, b
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def multiply(scalar, point):
    result = None
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def der_pair(data):
    """SEQUENCE of two positive INTEGERs, each in its shortest form."""
    if len(data) < 8 or data[0] != 0x30 or data[1] != len(data) - 2:
        raise ValueError("signature is not DER")
    numbers, rest = [], data[2:]
    while rest:
        if rest[0] != 2 or not 1 <= rest[1] <= len(rest) - 2 or rest[2] & 0x80:
            raise ValueError("signature is not DER")
        number, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        if len(number) > 1 and number[0] == 0 and not number[1] & 0x80:
            raise ValueError("signature is not DER")
        numbers.append(int.from_bytes(number, "big"))
    r, s = numbers
    return r, s


def p256_verify(point, message, signature):
    x, y = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
    if x >= P or y >= P or (y * y - (x * x * x - 3 * x + B)) % P:
        return False
    r, s = der_pair(signature)
    if not (0 < r < N and 0 < s < N):
        return False
    digest, inverse = int.from_bytes(hashlib.sha256(message).digest(), "big"), pow(s, -1, N)
    found = add(multiply(digest * inverse % N, G), multiply(r * inverse % N, (x, y)))
    return found is not None and found[0] % N == r


def plain64(text):
    """Padded base64 in its one spelling."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("another spelling of base64")
    return data


def url64(text):
    """Base64url without padding in its one spelling."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text:
        raise ValueError("another spelling of base64url")
    return data


def verify_by(spki, message, signature):
    if spki.startswith(ED25519) and len(spki) == 44:
        return ed25519_verify(spki[12:], message, signature)
    if spki.startswith(P256) and len(spki) == 91:
        return p256_verify(spki[27:], message, signature)
    raise NotImplementedError("another kind of key")


def statement_fault(kind, signed):
    """Why `signed` ({statement, keyId, publicKey, signature, passkey?}) is no signature on its statement; None if it is."""
    spki = plain64(signed["publicKey"])
    if sha256(spki).hex() != signed["keyId"]:
        return "the key is not the one that it names"
    message = f"{kind}\n{signed['statement']}".encode()
    passkey = signed.get("passkey")
    if passkey is None:
        held = spki.startswith(ED25519) and verify_by(spki, message, plain64(signed["signature"]))
        return None if held else "the signature does not verify"
    data, client_data = url64(passkey["authenticatorData"]), url64(passkey["clientDataJSON"])
    client = json.loads(client_data.decode("utf-8"))
    challenge = base64.urlsafe_b64encode(sha256(message)).decode().rstrip("=")
    if client.get("type") != "webauthn.get" or client.get("challenge") != challenge:
        return "it signs something else"
    if client.get("origin") != passkey["origin"] or client.get("crossOrigin", False) is not False or "topOrigin" in client:
        return "it was made elsewhere"
    if len(data) < 37 or data[:32] != sha256(passkey["rpId"].encode()) or data[32] & 5 != 5:
        return "it is for another site, or nobody was verified"
    held = verify_by(spki, data + sha256(client_data), url64(signed["signature"]))
    return None if held else "the passkey's signature does not verify"
