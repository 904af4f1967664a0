"""Writes inclusion.json and consistency.json beside itself: proofs for the first trees of eight leaves, and mangled ones.

It follows the recursive definitions of RFC 6962 section 2.1 word by word, and shares neither code nor algorithm with
src/ledger/proof, which climbs iteratively. Standard library only; the output is the same on every run.
"""

import base64
import hashlib
import json
import pathlib

LEAVES = [f"entry {n}".encode() * n for n in range(8)]


def sha(data):
    return hashlib.sha256(data).digest()


def leaf(data):
    return sha(b"\0" + data)


def node(left, right):
    return sha(b"\1" + left + right)


def split(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d):
    if not d:
        return sha(b"")
    return leaf(d[0]) if len(d) == 1 else node(mth(d[: split(len(d))]), mth(d[split(len(d)) :]))


def path(m, d):
    if len(d) == 1:
        return []
    k = split(len(d))
    return path(m, d[:k]) + [mth(d[k:])] if m < k else path(m - k, d[k:]) + [mth(d[:k])]


def subproof(m, d, whole):
    if m == len(d):
        return [] if whole else [mth(d)]
    k = split(len(d))
    if m <= k:
        return subproof(m, d[:k], whole) + [mth(d[k:])]
    return subproof(m - k, d[k:], False) + [mth(d[:k])]


def climb_inclusion(m, n, start, proof):
    """The root that a proof leads to, or None when it has the wrong length."""
    if n == 1:
        return start if not proof else None
    if not proof:
        return None
    k = split(n)
    inner = climb_inclusion(m, k, start, proof[:-1]) if m < k else climb_inclusion(m - k, n - k, start, proof[:-1])
    if inner is None:
        return None
    return node(inner, proof[-1]) if m < k else node(proof[-1], inner)


def climb_consistency(m, n, whole, root, proof):
    """Both roots that a proof leads to, or None when it has the wrong length."""
    if m == n:
        if whole:
            return (root, root) if not proof else None
        return (proof[0], proof[0]) if len(proof) == 1 else None
    if not proof:
        return None
    k = split(n)
    inner = climb_consistency(m, k, whole, root, proof[:-1]) if m <= k else climb_consistency(m - k, n - k, False, root, proof[:-1])
    if inner is None:
        return None
    return (inner[0], node(inner[1], proof[-1])) if m <= k else (node(proof[-1], inner[0]), node(proof[-1], inner[1]))


def inclusion_holds(c):
    return c["index"] < c["size"] and climb_inclusion(c["index"], c["size"], c["leafHash"], c["proof"]) == c["root"]


def consistency_holds(c):
    if not 0 < c["from"] <= c["to"]:
        return False
    return climb_consistency(c["from"], c["to"], True, c["fromRoot"], c["proof"]) == (c["fromRoot"], c["toRoot"])


def mangled(proof, roots):
    """Every way to spoil a proof: a bit, an order, a hash too many or too few at each end and in the middle."""
    junk = sha(b"junk")
    for place in range(len(proof)):
        yield f"bit {place}", proof[:place] + [bytes([proof[place][0] ^ 1]) + proof[place][1:]] + proof[place + 1 :]
        yield f"without {place}", proof[:place] + proof[place + 1 :]
        yield f"twice {place}", proof[: place + 1] + proof[place:]
    if len(proof) > 1:
        yield "reversed", proof[::-1]
        yield "empty", []
    yield "junk before", [junk] + proof
    yield "junk after", proof + [junk]
    yield from ((f"root {n} after", proof + [root]) for n, root in enumerate(roots))


def inclusion_claims():
    for size in range(1, 9):
        for index in range(size):
            d = LEAVES[:size]
            true = {"index": index, "size": size, "leafHash": leaf(LEAVES[index]), "proof": path(index, d), "root": mth(d)}
            yield "true", true
            yield from ((f"proof {name}", {**true, "proof": proof}) for name, proof in mangled(true["proof"], [true["root"]]))
            yield "leaf of another", {**true, "leafHash": leaf(b"another")}
            yield "leaf unprefixed", {**true, "leafHash": sha(LEAVES[index])}
            yield "root of another", {**true, "root": sha(b"another")}
            yield "root empty", {**true, "root": sha(b"")}
            for bit in (1, 2, 4, 8):
                yield f"index ^ {bit}", {**true, "index": index ^ bit}
            for other in (0, size - 1, size + 1, size * 2, 2**40):
                yield f"size {other}", {**true, "size": other}


def consistency_claims():
    for to in range(0, 9):
        for start in range(0, to + 1):
            old, new = LEAVES[:start], LEAVES[:to]
            proof = subproof(start, new, True) if start else []
            true = {"from": start, "to": to, "fromRoot": mth(old), "toRoot": mth(new), "proof": proof}
            yield "true, or from nothing", true
            roots = [true["fromRoot"], true["toRoot"]]
            yield from ((f"proof {name}", {**true, "proof": spoiled}) for name, spoiled in mangled(proof, roots))
            yield "old root of another", {**true, "fromRoot": sha(b"another")}
            yield "new root of another", {**true, "toRoot": sha(b"another")}
            yield "roots swapped", {**true, "fromRoot": true["toRoot"], "toRoot": true["fromRoot"]}
            yield "sizes swapped", {**true, "from": to, "to": start}
            for other in (start - 1, start + 1, start * 2):
                if other >= 0:
                    yield f"from {other}", {**true, "from": other}
            for other in (to - 1, to + 1, to * 2, 2**40):
                if other >= 0:
                    yield f"to {other}", {**true, "to": other}


def write(name, claims, holds):
    """Hashes are kept once each; claims have their places in that list."""
    places = {}

    def plain(value):
        if isinstance(value, bytes):
            return places.setdefault(base64.b64encode(value).decode(), len(places))
        return [plain(item) for item in value] if isinstance(value, list) else value

    rows = [{"about": about, **{key: plain(value) for key, value in claim.items()}, "holds": holds(claim)} for about, claim in claims]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    text = f'{{"hashes":{json.dumps(list(places), separators=(",", ":"))},\n"claims":[\n{lines}\n]}}\n'
    (pathlib.Path(__file__).parent / name).write_text(text)


if __name__ == "__main__":
    write("inclusion.json", inclusion_claims(), inclusion_holds)
    write("consistency.json", consistency_claims(), consistency_holds)
