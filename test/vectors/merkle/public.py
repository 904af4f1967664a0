"""Makes public.json from a checkout of transparency-dev/merkle: `python3 public.py CHECKOUT COMMIT` (Python's standard library alone).

The claims are taken over as they are, by the paths of their files; only the shape is ours: that of inclusion.json and
consistency.json beside it. `sources` is the SHA-256 over path, line feed and SHA-256 of each file, in the order of the paths.
"""
import hashlib
import json
import sys
from pathlib import Path

checkout, commit = Path(sys.argv[1]), sys.argv[2]
hashes = []
sources = hashlib.sha256()


def place(text):
    """Where the hash lies in `hashes`; an absent one is the empty string, as it is for the library."""
    text = text or ""
    if text not in hashes:
        hashes.append(text)
    return hashes.index(text)


def claims(kind, shape):
    made = []
    for path in sorted((checkout / "testdata" / kind).rglob("*.json")):
        name, data = path.relative_to(checkout).as_posix(), path.read_bytes()
        sources.update(f"{name}\n{hashlib.sha256(data).hexdigest()}\n".encode())
        vector = json.loads(data)
        proof = [place(one) for one in vector["proof"] or []]
        made.append({"file": name, **shape(vector), "proof": proof, "holds": not vector["wantErr"]})
    return made


def line(one):
    return "    " + json.dumps(one, separators=(",", ":"))


inclusion = claims(
    "inclusion",
    lambda v: {"index": v["leafIdx"], "size": v["treeSize"], "leafHash": place(v["leafHash"]), "root": place(v["root"])},
)
consistency = claims(
    "consistency",
    lambda v: {"from": v["size1"], "to": v["size2"], "fromRoot": place(v["root1"]), "toRoot": place(v["root2"])},
)
about = {"project": "transparency-dev/merkle", "commit": commit, "licence": "Apache-2.0", "sources": sources.hexdigest()}
parts = ['  "about": ' + json.dumps(about)]
for name, rows in (("hashes", hashes), ("inclusion", inclusion), ("consistency", consistency)):
    parts.append(f'  "{name}": [\n' + ",\n".join(map(line, rows)) + "\n  ]")
Path(__file__).with_name("public.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")
print(f"{len(inclusion)} inclusion, {len(consistency)} consistency, {len(hashes)} hashes")
