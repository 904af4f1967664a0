"""usage: passkeys.py recorded.json: for each recorded assertion and each passkey, whether it is that one's signature on the statement."""
import hashlib
import json
import sys
from pathlib import Path

from signatures import plain64, statement_fault

recorded = json.loads(Path(sys.argv[1]).read_text("utf-8"))
found = {}
for name, assertion in recorded["assertions"].items():
    found[name] = []
    for owner, key in recorded["keys"].items():
        signed = {
            "statement": recorded["statement"],
            "publicKey": key["publicKey"],
            "keyId": hashlib.sha256(plain64(key["publicKey"])).hexdigest(),
            "signature": assertion["signature"],
            "passkey": {**assertion, "rpId": key["rpId"], "origin": key["origin"]},
        }
        try:
            if statement_fault("countersign/approval/v1", signed) is None:
                found[name].append(owner)
        except (NotImplementedError, ValueError):
            # RSA, or a signature of another kind than the key is.
            pass
print(json.dumps(found))
