"""A second reader of evidence bundles, in Python's standard library: leaves, inclusion, tree, checkpoint signature,
commitments and erasures.

usage: verify_log.py DIR LOG VERIFIER_KEY

Written from docs/evidence-format.md alone, to show that the format is enough. Prints what it found; exit 0 or 1.
"""
import base64
import hashlib
import hmac
import json
import sys
from functools import lru_cache
from pathlib import Path

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def sha256(data):
    return hashlib.sha256(data).digest()


def recover_x(y, sign):
    """RFC 8032, 5.1.3."""
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - xx) % P or y >= P or (x == 0 and sign):
        raise ValueError("not a point")
    return P - x if x % 2 != sign else x


def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    g, h = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = f - e, h - g, h + g, e + f
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def point_of(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x = recover_x(y, sign)
    return (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (recover_x(BASE_Y, 0), BASE_Y, 1, recover_x(BASE_Y, 0) * BASE_Y % P)


@lru_cache(maxsize=50_000)
def ed25519_verify(public, message, signature):
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= L:
        return False
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    x1, y1, z1, _ = multiply(s, BASE)
    x2, y2, z2, _ = add(point_of(signature[:32]), multiply(k, point_of(public)))
    return (x1 * z2 - x2 * z1) % P == 0 and (y1 * z2 - y2 * z1) % P == 0


def node(left, right):
    return sha256(b"\x01" + left + right)


def root_of(hashes):
    """RFC 6962, 2.1."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node(root_of(hashes[:split]), root_of(hashes[split:]))


def root_by(path, index, size, leaf):
    """RFC 9162, 2.1.3.2."""
    last = size - 1
    for sibling in path:
        if last == 0:
            raise ValueError("proof too long")
        if index % 2 or index == last:
            leaf = node(sibling, leaf)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            leaf = node(leaf, sibling)
        index, last = index // 2, last // 2
    if last:
        raise ValueError("proof too short")
    return leaf


def open_checkpoint(note, verifier_key):
    name, key_hash, encoded = verifier_key.split("+", 2)
    key = base64.b64decode(encoded)
    assert key[0] == 1 and sha256(name.encode() + b"\n" + key)[:4].hex() == key_hash, "verifier key"
    text, signatures = note.rsplit("\n\n", 1)
    for line in signatures.splitlines():
        _, signer, blob = line.split(" ")
        blob = base64.b64decode(blob)
        if signer == name and blob[:4].hex() == key_hash:
            assert ed25519_verify(key[1:], (text + "\n").encode(), blob[4:]), "checkpoint signature"
            origin, size, root = text.split("\n")[:3]
            assert origin == name, "origin"
            return int(size), base64.b64decode(root)
    raise AssertionError("no signature of the key")


def contents_of(folder, section, data_key, erased):
    """Whether a run's contents were erased; refuted where they are there under other names, or missing without having been erased."""
    record = json.loads((folder / section["record"]).read_text("utf-8"))
    salt = record.get("salt")
    assert record["run"].get("dataKey") == data_key, f"data key of {section['run']}"
    if data_key is not None and salt is None:
        assert data_key in erased or section["run"] in erased, f"missing contents of {section['run']}"
        return True
    named = [record["run"]["input"], record["run"]["result"], *(step["result"] for step in record["steps"])]
    for name in filter(None, named):
        data = (folder / "payloads" / f"{name}.json").read_bytes()
        if salt is None:
            digest = sha256(data)
        else:
            digest = hmac.digest(bytes.fromhex(salt), b"countersign/content/v1\n" + data, "sha256")
        assert digest.hex() == name, f"contents {name}"
    return False


def main(folder, log, verifier_key):
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["format"] == "countersign/evidence/v1", "format"
    section = next(one for one in manifest["logs"] if one["log"] == log)
    for path in (section["checkpoint"], section["leaves"]):
        data, named = (folder / path).read_bytes(), manifest["files"][path]
        assert len(data) == named["bytes"] and sha256(data).hex() == named["sha256"], path
    size, root = open_checkpoint((folder / section["checkpoint"]).read_text("utf-8"), verifier_key)
    leaves = (folder / section["leaves"]).read_bytes().split(b"\n")[:-1]
    hashes = [sha256(b"\x00" + leaf) for leaf in leaves]
    if section["coverage"] == "full":
        assert len(leaves) == size and root_of(hashes) == root, "root"
    else:
        proofs = json.loads((folder / section["proofs"]).read_text("utf-8"))["proofs"]
        assert len(proofs) == len(leaves), "proofs"
        for leaf, proof in zip(hashes, proofs):
            path = [bytes.fromhex(one) for one in proof["path"]]
            assert root_by(path, proof["index"], size, leaf) == root, f"inclusion of {proof['index']}"
    last = {}
    erased = set()
    data_keys = {}
    for leaf, leaf_hash in zip(leaves, hashes):
        entry = json.loads(leaf)
        assert entry["v"] == 1 and entry["log"] == log, "entry"
        if "run" in entry:
            run = entry["run"]
            seq, previous = last.get(run["id"], (-1, "0" * 64))
            assert run["seq"] == seq + 1 and run["prev"] == previous, f"chain of {run['id']}"
            last[run["id"]] = (run["seq"], leaf_hash.hex())
            if "dataKey" in entry["facts"]:
                data_keys[run["id"]] = entry["facts"]["dataKey"]
        elif entry["kind"] == "payload.erased":
            erased.add(entry["facts"].get("dataKey") or entry["facts"]["run"])
    gone = 0
    if manifest["contents"] == "included":
        for one in manifest["runs"]:
            if one["log"] == log:
                gone += contents_of(folder, one, data_keys.get(one["run"]), erased)
    print(json.dumps({"size": size, "leaves": len(leaves), "runs": len(last), "erased": gone}))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4])
    except (AssertionError, ValueError, OSError) as problem:
        print(f"refuted: {problem}")
        sys.exit(1)
