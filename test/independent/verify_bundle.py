"""A second verifier of evidence bundles, in Python's standard library, written from docs/evidence-format.md and docs/evidence-record.md.

usage: verify_bundle.py DIR TRUST.json [PINNED...]     one bundle; exit 0 verified, 1 refuted, 2 incomplete
       verify_bundle.py --serve                        a JSON line {directory, trust, pinned} in, a JSON line out, until the end of input

It makes no decision again (that takes Cedar) and renders no page; it says so.
"""
import base64
import json
import re
import stat
import sys
from datetime import datetime, timedelta
from pathlib import Path

from canonical import jcs, parse
from signatures import plain64, statement_fault
from verify_log import contents_of, ed25519_verify, node, root_by, root_of, sha256

PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}(/[A-Za-z0-9][A-Za-z0-9._-]{0,120}){0,5}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MANIFEST = {"format", "generator", "createdAt", "case", "needs", "extra", "contents", "logs", "runs", "report", "files"}
NEEDS = {"erasure"}
CLOSED = tuple(f"EVENT_TYPE_WORKFLOW_EXECUTION_{how}" for how in ("COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT"))
ENDS = ("step.result", "step.unknown", "step.reconciled")
STATEMENTS = {
    "countersign/approval/v1": "v type request team run seq action rendered policySet decision reviewer reason nonce issuedAt expiresAt",
    "countersign/edit/v1": "v type request team run seq action rendered policySet edited arguments reviewer reason nonce issuedAt expiresAt",
    "countersign/resolution/v1": "v type unknown team run seq action outcome reviewer reason nonce issuedAt",
    "countersign/standing-grant/v1": "v type grant team agent tool terms reviewer nonce issuedAt expiresAt",
}


def assertion_facts(one):
    """What the entry of a signature has of how it was made."""
    if "passkey" not in one:
        return {"kind": None, "assertion": None}
    names = ("authenticatorData", "clientDataJSON", "credentialId", "userHandle")
    assertion = {name: one["passkey"][name] for name in names if name in one["passkey"]}
    return {"kind": "webauthn", "assertion": sha256(jcs(assertion).encode()).hex()}


class Refuted(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Refuted(what)


def same(what, found, wanted):
    check(found == wanted, f"{what}: {found!r}, and {wanted!r}")


def when(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


class Bundle:
    def __init__(self, directory, trust, pinned):
        self.root, self.trust, self.pinned = Path(directory), trust, pinned
        self.open, self.not_proven = [], ["that decisions come out the same, and the page: this verifier does not make them again"]
        self.approvers = {one["keyId"]: one for one in trust["approvers"]}
        self.logs, self.cosigned = {}, []

    # Files.
    def bytes(self, path, named):
        check(PATH.fullmatch(path) is not None, f"path {path}")
        place = self.root
        for part in path.split("/"):
            place /= part
            check(not place.is_symlink(), f"{path} is a link")
        found = place.lstat()
        check(stat.S_ISREG(found.st_mode) and found.st_size == named["bytes"] <= 2**28, f"{path} is not as named")
        data = place.read_bytes()
        same(f"digest of {path}", sha256(data).hex(), named["sha256"])
        return data

    def data(self, path):
        check(path in self.manifest["files"], f"{path} is not named")
        return self.bytes(path, self.manifest["files"][path])

    def json(self, path):
        return parse(self.data(path))

    def verify(self):
        place = self.root / "manifest.json"
        check(not place.is_symlink() and place.is_file(), "no manifest")
        manifest = self.manifest = parse(place.read_bytes())
        same("format", manifest["format"], "countersign/evidence/v1")
        check(set(manifest) <= MANIFEST, "a field that is not known")
        for path in manifest["files"]:
            check(PATH.fullmatch(path) is not None, f"path {path}")
        for need in set(manifest["needs"]) - NEEDS:
            self.open.append(f"it needs {need}")
        for path in manifest["files"]:
            self.data(path)
            if path.endswith(".json"):
                self.json(path)
            if path.startswith(("policies/", "releases/", "code/")):
                same(path, sha256(self.data(path)).hex(), path.split("/")[1].rsplit(".", 1)[0])
        for member in ("logs", "runs"):
            names = [one[member[:-1]] for one in manifest[member]]
            check(len(set(names)) == len(names), f"{member}: a name twice")
        for section in manifest["logs"]:
            self.log(section)
        for section in manifest["runs"]:
            self.run(section)
        for size, wanted, log in self.cosigned:
            self.cosigning(log, size, wanted)
        self.requirements()

    # Logs.
    def keys_of(self, log, size=0):
        """Keys that count for a checkpoint of this size: retired ones up to the last that is still theirs."""
        keys, trusted = [], self.trust["logs"].get(log, {})
        retired = [one["verifierKey"] for one in trusted.get("retiredKeys", []) if size <= one["untilSize"]]
        for text in [*trusted.get("verifierKeys", []), *retired]:
            name, key_hash, encoded = text.split("+", 2)
            keys.append((name, bytes.fromhex(key_hash), base64.b64decode(encoded)[1:]))
        return keys

    def checkpoint(self, note, log):
        """(origin, size, root) of a note that a trusted key of the log signed; a signature of such a key that does not hold refutes."""
        text, lines = note.rsplit("\n\n", 1)
        origin, size, root = text.split("\n")[:3]
        check(re.fullmatch("0|[1-9][0-9]*", size) is not None, "size")
        signed = False
        for line in lines.splitlines():
            dash, signer, blob = line.split(" ")
            blob = plain64(blob)
            check(dash == "\u2014" and len(blob) > 4, "signature line")
            for name, key_hash, key in self.keys_of(log, int(size)):
                if signer == name and blob[:4] == key_hash:
                    check(ed25519_verify(key, f"{text}\n".encode(), blob[4:]), f"signature on a checkpoint of {log}")
                    signed = True
        check(signed, f"no trusted key of {log} signed its checkpoint")
        check(any(origin == name for name, _, _ in self.keys_of(log)), "origin")
        return origin, int(size), plain64(root)

    def is_current(self, note, log):
        """Whether a key signed it that is not retired. That its signature holds was looked at."""
        lines = [line.split(" ") for line in note.rsplit("\n\n", 1)[1].splitlines()]
        keys = [(name, key_hash) for name, key_hash, _ in self.keys_of(log, float("inf"))]
        return any((signer, base64.b64decode(blob)[:4]) in keys for _, signer, blob in lines)

    def is_pinned(self, origin, size, root):
        return any(pin.split("\n")[:3] == [origin, str(size), base64.b64encode(root).decode()] for pin in self.pinned)

    def witnesses_of(self, note):
        text, lines = note.rsplit("\n\n", 1)
        found = set()
        for text_key in self.trust.get("witnesses", {}).get("keys", []):
            name, key_hash, encoded = text_key.split("+", 2)
            key = base64.b64decode(encoded)[1:]
            for line in lines.splitlines():
                _, signer, blob = line.split(" ")
                blob = base64.b64decode(blob)
                if signer == name and blob[:4].hex() == key_hash and len(blob) == 76:
                    time = int.from_bytes(blob[4:12], "big")
                    if ed25519_verify(key, f"cosignature/v1\ntime {time}\n{text}\n".encode(), blob[12:]):
                        found.add(name)
        return found

    def log(self, section):
        log = section["log"]
        note = self.data(section["checkpoint"]).decode("utf-8")
        if not self.keys_of(log):
            self.open.append(f"log {log}: the trust file has no key of it")
            return
        origin, size, root = self.checkpoint(note, log)
        same(f"origin of {log}", section["origin"], origin)
        if not self.is_current(note, log) and not self.witnesses_of(note) and not self.is_pinned(origin, size, root):
            self.open.append(f"{log}: a retired key alone signed its checkpoint")
        quorum = self.trust.get("witnesses", {}).get("quorum", 0)
        if len(self.witnesses_of(note)) < quorum:
            self.open.append(f"fewer witnesses than asked for have cosigned the checkpoint of {log}")
        data = self.data(section["leaves"])
        check(data == b"" or data.endswith(b"\n"), "leaves")
        lines = data.split(b"\n")[:-1]
        hashes = [sha256(b"\x00" + line) for line in lines]
        if section["coverage"] == "full":
            check(len(lines) >= size, f"{log}: leaves are missing")
            if len(lines) > size:
                self.open.append(f"{log}: leaves beyond the checkpoint")
            check((root_of(hashes[:size]) if size else sha256(b"")) == root, f"root of {log}")
            indexes = list(range(len(lines)))
        else:
            proofs = self.json(section["proofs"])["proofs"]
            same(f"{log}: proofs", len(proofs), len(lines))
            indexes = [proof["index"] for proof in proofs]
            check(indexes == sorted(set(indexes)), f"order in {log}")
            for leaf_hash, proof in zip(hashes, proofs):
                if proof["index"] >= size:
                    self.open.append(f"{log}: a leaf beyond the checkpoint")
                    continue
                path = [bytes.fromhex(one) for one in proof["path"]]
                check(root_by(path, proof["index"], size, leaf_hash) == root, f"inclusion of {log} {proof['index']}")
        entries = [self.entry(line, log) for line in lines]
        self.logs[log] = {
            "section": section,
            "entries": list(zip(indexes, entries, lines)),
            "tops": {size: root},
            "hashes": hashes if section["coverage"] == "full" else None,
        }
        for one in section["old"]:
            self.older(log, self.data(one["checkpoint"]).decode("utf-8"), one, size, root)
        for pin in self.pinned:
            if any(pin.split("\n")[0] == name for name, _, _ in self.keys_of(log)):
                self.pin(log, pin, size, root)
        self.ledger_rules(log, hashes)

    def entry(self, line, log):
        check(len(line) <= 16 * 1024, "a leaf is too large")
        entry = parse(line)
        check(set(entry) <= {"v", "kind", "log", "dedupKey", "at", "run", "facts"} and entry["v"] == 1, "entry")
        check(entry["log"] == log and TIME.fullmatch(entry["at"]) is not None and isinstance(entry["kind"], str), "entry")
        for fact in entry["facts"].values():
            texts = isinstance(fact, list) and all(isinstance(one, str) for one in fact)
            whole = isinstance(fact, int) and not isinstance(fact, bool) and abs(fact) < 2**53
            check(texts or whole or isinstance(fact, str), "a fact")
        return entry

    def consistent(self, path, small, large, small_root, large_root):
        """RFC 9162, 2.1.4.2."""
        check(0 < small <= large, "sizes")
        if small == large:
            return path == [] and small_root == large_root
        if small & (small - 1) == 0:
            path = [small_root, *path]
        if not path:
            return False
        fn, sn = small - 1, large - 1
        while fn & 1:
            fn, sn = fn >> 1, sn >> 1
        fr = sr = path[0]
        for one in path[1:]:
            if sn == 0:
                return False
            if fn & 1 or fn == sn:
                fr, sr = node(one, fr), node(one, sr)
                while not fn & 1 and fn:
                    fn, sn = fn >> 1, sn >> 1
            else:
                sr = node(sr, one)
            fn, sn = fn >> 1, sn >> 1
        return sn == 0 and fr == small_root and sr == large_root

    def older(self, log, note, named, size, root):
        _, old_size, old_root = self.checkpoint(note, log)
        proof = self.json(named["consistency"])
        same("sizes", (named["size"], proof["from"], proof["to"]), (old_size, old_size, size))
        path = [bytes.fromhex(one) for one in proof["path"]]
        check(self.consistent(path, old_size, size, old_root, root), f"{log} did not grow out of its checkpoint at {old_size}")
        self.logs[log]["tops"][old_size] = old_root

    def pin(self, log, note, size, root):
        _, old_size, old_root = self.checkpoint(note, log)
        check(old_size <= size, f"{log} was rolled back")
        known = self.logs[log]["tops"].get(old_size)
        if known is None and self.logs[log]["hashes"] is not None:
            known = root_of(self.logs[log]["hashes"][:old_size])
        if known is None:
            self.open.append(f"{log}: nothing leads to the pin at {old_size}")
        else:
            check(known == old_root, f"{log} was rewritten since {old_size}")
            self.logs[log]["matched"] = True

    def ledger_rules(self, log, hashes):
        runs, activations, approvals, grants = {}, [], {}, {}
        for (index, entry, _), leaf_hash in zip(self.logs[log]["entries"], hashes):
            kind, facts, at = entry["kind"], entry["facts"], entry["at"]
            if "run" not in entry:
                if kind == "policy.activated":
                    activations.append((at, facts["policySet"]))
                self.grant_rules(log, grants, entry)
                continue
            place = entry["run"]
            fresh = {"seq": -1, "hash": "0" * 64, "decided": {}, "begun": {}, "ended": {}, "cost": 0, "closed": False, "ahead": {}}
            run = runs.setdefault(place["id"], fresh)
            same(f"chain of {place['id']}", (place["seq"], place["prev"]), (run["seq"] + 1, run["hash"]))
            run["seq"], run["hash"] = place["seq"], leaf_hash.hex()
            seq = facts.get("seq")
            check(not run["closed"] or kind == "step.reconciled", f"{kind} after the end of {place['id']}")
            if kind == "step.decided":
                self.in_force(activations, at, facts["policySet"])
                same("use of a standing grant", run["ahead"].get(seq), facts.get("standingGrant", run["ahead"].get(seq)))
                run["decided"][seq] = facts
            elif kind == "standing.used":
                check(seq not in run["ahead"] and seq not in run["begun"], "a standing grant, used late")
                self.grant_rules(log, grants, entry)
                run["ahead"][seq] = facts["grant"]
            elif kind == "step.intent":
                decided = run["decided"].get(seq, {})
                same(f"intent of {seq}", (decided.get("outcome"), decided.get("action")), ("allow", facts["action"]))
                check(seq not in run["begun"], f"step {seq} begun twice")
                run["begun"][seq] = index
            elif kind in ENDS and not run["closed"]:
                before = run["ended"].get(seq)
                check(seq in run["begun"], f"step {seq} ended, and was not begun")
                check(before is None or (before == "step.unknown" and kind == "step.reconciled"), f"step {seq} ended twice")
                if kind != "step.reconciled":
                    self.wait_rules(log, place["id"], run, seq, facts, index)
                run["ended"][seq] = kind
                run["cost"] += facts["costMicroUsd"]
            elif kind.startswith("approval."):
                self.approval_rules(approvals, kind, facts)
            elif kind == "run.closed":
                same("steps and cost", (facts["steps"], facts["spentMicroUsd"]), (len(run["decided"]), run["cost"]))
                same("steps without an end", set(run["begun"]) - set(run["ended"]), set())
                run["closed"] = True

    def in_force(self, activations, at, policy_set):
        for since, activated in reversed(activations):
            if activated == policy_set:
                return
            if when(since) < when(at) - timedelta(seconds=1):
                break
        raise Refuted("decided under another policy set than the one in force")

    def approval_rules(self, approvals, kind, facts):
        state = approvals.get(facts["approval"])
        what = kind[len("approval.") :]
        fits = {"requested": [None], "approved": ["pending"], "denied": ["pending", "approved"], "consumed": ["approved"]}
        fits.update({"expired": ["pending", "approved"], "cancelled": ["pending", "approved"], "edited": ["pending"]})
        if what not in fits:
            return
        check(state in fits[what], f"{kind} of a request that is {state}")
        approvals[facts["approval"]] = facts["state"] if "state" in facts else "pending" if what == "requested" else what

    def wait_rules(self, log, run, chain, seq, facts, index):
        wanted = chain["decided"].get(seq, {}).get("witnesses", 0)
        if not wanted:
            return
        size = facts.get("checkpoint")
        if facts.get("code") == "not_cosigned" or facts["state"] == "cancelled":
            check(size is None, "a call that was not made, on a checkpoint")
            return
        check(isinstance(size, int) and chain["begun"][seq] < size <= index, f"step {seq}: made on a checkpoint of size {size}")
        if any(one["run"] == run for one in self.manifest["runs"]):
            self.cosigned.append((size, wanted, log))

    def cosigning(self, log, size, wanted):
        old = next((one for one in self.logs[log]["section"]["old"] if one["size"] == size), None)
        known = len(self.trust.get("witnesses", {}).get("keys", []))
        if old is None or known < wanted:
            self.open.append(f"{log}: cosignatures at {size}")
            return
        check(len(self.witnesses_of(self.data(old["checkpoint"]).decode("utf-8"))) >= wanted, f"{log}: too few cosigned {size}")

    def grant_rules(self, log, grants, entry):
        kind, facts = entry["kind"], entry["facts"]
        if not kind.startswith("standing."):
            return
        grant = grants.get(facts["grant"])
        if kind == "standing.proposed":
            check(grant is None, "a standing grant proposed twice")
            grants[facts["grant"]] = {**facts, "state": "proposed", "n": 0, "total": 0}
            return
        check(grant is not None and (kind == "standing.revoked" or facts["terms"] == grant["terms"]), "another standing grant")
        if kind == "standing.revoked":
            grant["state"] = "revoked"
        elif kind == "standing.approved":
            same("standing grant", grant["state"], "proposed")
            grant["state"] = "active" if facts["state"] == "active" else "proposed"
        elif kind == "standing.used":
            same("standing grant", grant["state"], "active")
            n, amount, total = facts["n"], facts["amount"], facts["total"]
            following = n == grant["n"] + 1 and total == grant["total"] + amount
            selected = self.logs[log]["section"]["coverage"] == "selected"
            later = selected and n > grant["n"] + 1 and total >= grant["total"] + amount
            check(amount >= 0 and (following or later) and n <= grant["uses"], "uses of a standing grant")
            check(total <= grant.get("sum", total) and grant["from"] <= entry["at"] < grant["until"], "limits of a standing grant")
            grant["n"], grant["total"] = n, total

    # Runs.
    def run(self, section):
        run, log = section["run"], self.logs.get(section["log"])
        if log is None:
            check(any(one["log"] == section["log"] for one in self.manifest["logs"]), f"the log of {run} is not here")
            return
        leaves = [one for one in log["entries"] if one[1].get("run", {}).get("id") == run]
        beside = [entry for _, entry, _ in log["entries"] if "run" not in entry]
        check(leaves != [], f"no leaf of {run}")
        record = self.json(section["record"])
        same("record", (record["v"], record["run"]["id"], record["run"]["team"]), (1, run, section["log"]))
        self.join(record, [entry for _, entry, _ in leaves])
        for folder, names in (("releases", [record["run"]["release"]]), ("policies", {d["policySet"] for d in record["decisions"]})):
            for name in names:
                self.data(f"{folder}/{name}.json")
        self.costs(record, self.json(f"releases/{record['run']['release']}.json"), [entry for _, entry, _ in leaves])
        self.signatures(record, [entry for _, entry, _ in leaves], beside)
        if self.manifest["contents"] == "included":
            self.contents(section, record, leaves, beside)
        self.histories(section, record, beside)
        if "statement" in section:
            self.statement(section, leaves)
        elif "statements" in self.trust.get("require", []):
            self.open.append(f"{run} has no statement")

    def join(self, record, entries):
        """Each row has its leaf, each leaf its row, and they say the same."""
        run, of = record["run"], lambda *kinds: [one for one in entries if one["kind"] in kinds]

        def facts_are(entry, wanted, at=None):
            for name, value in wanted.items():
                same(f"{entry['kind']}.{name}", entry["facts"].get(name), value)
            if at is not None:
                same(f"time of {entry['kind']}", entry["at"], at)

        started, closed = of("run.started"), of("run.closed")
        if run["workflowBundle"] is not None or record["steps"] or started:
            same("starts", len(started), 1)
            names = ("agent", "release", "input", "requestedBy", "workflowBundle")
            facts_are(started[0], {**{name: run[name] for name in names}, "dataKey": run.get("dataKey")})
        same("ends", len(closed), 0 if run["closedAt"] is None else 1)
        for end in closed:
            wanted = {name: run[name] for name in ("status", "steps", "spentMicroUsd", "result")}
            facts_are(end, {**wanted, "failure": (run["failure"] or {}).get("code")}, run["closedAt"])
        steps = {step["seq"]: step for step in record["steps"]}
        decisions = {(one["seq"], one["n"]): one for one in record["decisions"]}
        same("steps", (len(steps), set(steps)), (len(record["steps"]), {seq for seq, _ in decisions}))
        decided = {(one["facts"]["seq"], one["facts"]["n"]): one for one in of("step.decided")}
        same("decisions", set(decided), set(decisions))
        for key, entry in decided.items():
            row, step = decisions[key], steps[key[0]]
            names = ("outcome", "code", "policies", "activity", "policySet", "request", "approval", "effective")
            wanted = {name: row[name] for name in names}
            wanted.update({name: row.get(name) for name in ("edit", "standingGrant", "witnesses", "cosignBy")})
            wanted.update({"step": step["kind"], "name": step["name"], "action": step["action"], "arguments": step["arguments"]})
            answer = row["facts"].get("response", {}).get("answer")
            wanted.update({"agent": run["agent"], "release": run["release"], "shadow": "true" if row["shadow"] else None, "answer": answer})
            facts_are(entry, wanted, row["at"])
        intents, ends = {one["facts"]["seq"] for one in of("step.intent")}, {one["facts"]["seq"]: one for one in of(*ENDS)}
        for seq, step in steps.items():
            answered = any(one["seq"] == seq and "response" in one["facts"] for one in record["decisions"])
            acted = answered or step.get("cosigning") == "late" or step["state"] in ("intended", "done", "failed", "unknown")
            same(f"intent of step {seq}", seq in intents, acted)
            calls = [one for one in record["decisions"] if one["seq"] == seq and "response" not in one["facts"]]
            if calls:
                same("time of a step", step["decidedAt"], calls[-1]["at"])
                check(step["state"] != "denied" or step["finishedAt"] == calls[-1]["at"], "time of a denied step")
            # A model that was given up for want of room said nothing; whatever else has no answer is the last that its model was asked.
            given_up = step.get("code") == "no_room"
            if given_up:
                same("a step that was given up", (step["kind"], step["state"], step["result"]), ("model", "failed", None))
                taken = [ends[seq]["facts"].get(name, 0) for name in ("costMicroUsd", "inputTokens", "outputTokens", "assumedTokens")] if seq in ends else []
                check(any(taken), f"step {seq} was given up for want of room, and took nothing")
                check(all(one["askedBy"] != seq for one in steps.values()), f"step {seq} was given up, and asked for a call")
            elif step["kind"] == "model" and step["state"] == "failed" and step["result"] is None:
                check(all(one <= seq or steps[one]["kind"] != "model" for one in steps), f"the model was asked again after step {seq}")
            if seq in ends:
                facts_are(ends[seq], {name: step[name] for name in ("state", "result", "costMicroUsd")}, step["finishedAt"])
                if ends[seq]["kind"] != "step.reconciled":
                    late = step.get("cosigning") == "late" and step["state"] == "failed"
                    facts_are(ends[seq], {"code": "no_room" if given_up else "not_cosigned" if late else None})
            else:
                check(not acted or run["closedAt"] is None, f"step {seq} has no end")
        requests = {one["id"]: one for one in record["approvals"]}
        same("requests", {one["facts"]["approval"] for one in entries if one["kind"].startswith("approval.")}, set(requests))
        for entry in of("approval.requested"):
            request = requests[entry["facts"]["approval"]]
            facts_are(entry, {name: request[name] for name in ("seq", "action", "expiresAt")}, request["openedAt"])
            asked = [
                "|".join([one["group"], *one.get("orGroups", [])]) + f":{one['quorum']}" + (":passkey" if "signed" in one else "")
                for one in request["requirements"]
            ]
            facts_are(entry, {"groups": asked})
            if "requirements" in entry["facts"]:
                barred = [f"{one['because']}:{one['person']}" for one in request.get("barred", [])]
                facts_are(entry, {"requirements": sha256(jcs(request["requirements"]).encode()).hex(), "barred": barred})
        for id, request in requests.items():
            self.state_of(request, [one for one in entries if one["facts"].get("approval") == id])
        taken = {(one["kind"], *(one["facts"][n] for n in ("approval", "reviewer", "keyId"))): one for one in of("approval.approved", "approval.denied")}
        for request in record["approvals"]:
            for one in request["decisions"]:
                kind = "approval.approved" if one["decision"] == "approve" else "approval.denied"
                entry = taken.pop((kind, request["id"], one["reviewer"], one["keyId"]), None)
                check(entry is not None, "a decision that is not in the ledger")
                capacity = one.get("capacity", {})
                delegation = capacity.get("delegation", {})
                wanted = {"keyId": one["keyId"], "signature": one["signature"], "seq": request["seq"], "action": request["action"]}
                wanted.update({"statement": sha256(one["statement"].encode()).hex(), "person": capacity.get("person")})
                wanted.update({"groups": capacity.get("groups"), "delegation": delegation.get("id"), "delegator": delegation.get("delegator")})
                facts_are(entry, wanted, capacity.get("at"))
                facts_are(entry, assertion_facts(one))
        same("decisions of people", taken, {})
        edits = {one["request"]: one for one in record.get("edits", [])}
        edited = {one["facts"]["approval"]: one for one in of("approval.edited")}
        same("edits", set(edited), set(edits))
        for id, entry in edited.items():
            wanted = {name: edits[id][name] for name in ("arguments", "keyId", "signature", "reviewer", "persons")}
            capacity = edits[id].get("capacity", {})
            delegation = capacity.get("delegation", {})
            wanted.update({"person": capacity.get("person"), "groups": capacity.get("groups")})
            wanted.update({"delegation": delegation.get("id"), "delegator": delegation.get("delegator")})
            facts_are(entry, {**wanted, "edited": edits[id]["action"], "statement": sha256(edits[id]["statement"].encode()).hex()}, capacity.get("at"))
            check(edits[id]["reviewer"] in edits[id]["editors"], "who changed a call is none of its editors")
        uses = {(grant["id"], use["seq"]): use for grant in record.get("standingGrants", []) for use in grant["uses"]}
        used = {(one["facts"]["grant"], one["facts"]["seq"]): one for one in of("standing.used")}
        same("uses of standing grants", set(used), set(uses))
        for key, entry in used.items():
            barred = [f"{one['because']}:{one['person']}" for one in uses[key]["barred"]]
            facts_are(entry, {**{name: uses[key][name] for name in ("n", "amount", "total")}, "barred": barred}, uses[key]["at"])

    def state_of(self, request, entries):
        state = "pending"
        for entry in entries:
            what = entry["kind"][len("approval.") :]
            if what in ("approved", "denied"):
                state = entry["facts"]["state"]
            elif what in ("expired", "cancelled", "consumed", "edited"):
                state = {"edited": "cancelled"}.get(what, what)
        same(f"state of {request['id']}", request["state"], state)

    def costs(self, record, release, entries):
        """Each model call costs what its usage comes to at the price of its intent; what was held fits the run's limit."""
        same("the run's cost", record["run"]["spentMicroUsd"], sum(step["costMicroUsd"] for step in record["steps"]))
        limit, held, under_way, spent, charged = release["limits"]["maxCostMicroUsd"], {}, {}, 0, {}
        rows, standings = {(one["seq"], one["n"]): one["facts"] for one in record["decisions"]}, [("", 0, 0)]
        before = 0
        for entry in entries:
            kind, facts = entry["kind"], entry["facts"]
            seq = facts.get("seq")
            if kind == "step.decided" and "response" not in rows[seq, facts["n"]]:
                # What ended in the second before it may not have been counted yet.
                late = (when(entry["at"]) - timedelta(seconds=1)).isoformat(timespec="milliseconds") + "Z"
                settled = max(place for place, one in enumerate(standings) if one[0] < late)
                told = rows[seq, facts["n"]]
                own = next((one for one in told.get("budget", {}).get("budgets", []) if one["name"] == "run"), None)
                known = [one[1:] for one in standings[min(before, settled):] if own is None or one[2] == own["held"]["microUsd"]]
                check(told["spentMicroUsd"] in [one[0] for one in known], f"step {seq}: decided with another sum spent or held")
            if kind == "step.decided":
                before = len(standings) - 1
            if kind == "budget.extended" and facts.get("budget") == "budget:run":
                limit += facts.get("microUsd", 0)
                request = next((one for one in record["approvals"] if one["id"] == facts["approval"]), {"state": "", "requirements": []})
                agreed = request["state"] == "consumed" and any(need["policy"] == "budget:run" for need in request["requirements"])
                check(agreed, "a limit that nobody had agreed to go beyond")
            elif kind == "step.intent":
                held[seq], under_way[seq] = facts, facts["heldMicroUsd"]
                check(facts["heldMicroUsd"] == 0 or spent + sum(under_way.values()) <= limit, f"step {seq}: beyond the run's limit")
                if "outputPerMillion" in facts:
                    check(facts["heldMicroUsd"] * 10**6 >= release["model"]["maxOutputTokens"] * facts["outputPerMillion"], "too little was held")
                allowed = [one for one in record["decisions"] if one["seq"] == seq and one["outcome"] == "allow" and "response" not in one["facts"]]
                budget = allowed[-1]["facts"].get("budget") if allowed else None
                check(budget is None or budget["hold"]["microUsd"] == facts["heldMicroUsd"], "what was held is not what was decided with")
            elif kind in ENDS:
                cost, assumed = facts["costMicroUsd"], facts.get("assumedMicroUsd", 0)
                intent, spent = held.get(seq, {"heldMicroUsd": 0}), spent + cost
                charged[seq] = charged.get(seq, 0) + cost
                under_way.pop(seq, None)
                check(assumed == 0 or (intent["heldMicroUsd"] and assumed % intent["heldMicroUsd"] == 0), "a charge that nobody counted")
                if "inputTokens" not in facts:
                    check(cost == assumed or facts["state"] == "cancelled", f"step {seq}: a cost without usage")
                elif "outputPerMillion" in intent:
                    cached = facts.get("cachedInputTokens", 0)
                    parts = [(facts["inputTokens"] - cached, "inputPerMillion"), (cached, "cachedInputPerMillion"), (facts.get("outputTokens", 0), "outputPerMillion")]
                    again = -(-sum(tokens * intent[price] for tokens, price in parts) // 10**6)
                    # The cost of each attempt is rounded up, and there are at most five.
                    check(again <= cost - assumed <= again + 4, f"step {seq}: cost {cost}, again {again}")
            if kind == "step.intent" or kind in ENDS:
                standings.append((entry["at"], spent, sum(under_way.values())))
            if kind == "step.intent":
                before = len(standings) - 1
        for step in record["steps"]:
            check(step["state"] == "waiting" or step["costMicroUsd"] == charged.get(step["seq"], 0), f"cost of step {step['seq']}")

    # What people signed.
    def signatures(self, record, entries, beside):
        run = record["run"]
        subject = record.get("input", {}).get("subject", {})
        by_request = {one["id"]: one for one in record["approvals"]}
        leaf_of = lambda kind, **facts: next((e for e in entries + beside if e["kind"] == kind and facts.items() <= e["facts"].items()), None)
        for request in record["approvals"]:
            voters, before = {}, {}
            for one in request["decisions"]:
                kind = "approval.approved" if one["decision"] == "approve" else "approval.denied"
                entry = leaf_of(kind, approval=request["id"], reviewer=one["reviewer"], keyId=one["keyId"])
                statement = self.signed("countersign/approval/v1", one, record)
                same("request", tuple(statement[n] for n in ("request", "seq", "action", "expiresAt", "decision")), (request["id"], request["seq"], request["action"], request["expiresAt"], one["decision"]))
                check(any(d["approval"] == request["id"] and d["policySet"] == statement["policySet"] for d in record["decisions"]), "policy set")
                names = {one["reviewer"]}
                if "capacity" in one:
                    capacity = one["capacity"]
                    delegation = capacity.get("delegation", {})
                    names |= {capacity["person"], delegation.get("delegator"), delegation.get("person")} - {None}
                    check(request["openedAt"] <= capacity["at"] < request["expiresAt"], "decided when it was not open")
                barred = {bar["person"] for bar in request.get("barred", [])}
                check(not names & (barred | {run["requestedBy"], subject.get("id"), subject.get("email")} - {None}), "decided by who may not")
                check(entry["at"] < request["expiresAt"], "decided late")
                check(when(statement["issuedAt"]) <= when(entry["at"]) + timedelta(seconds=5), "signed after it was entered")
                self.whose(one, entry, entry["at"], entry["at"])
                if "delegation" in entry["facts"]:
                    self.delegation(one, entry)
                fallen = before.get(one["reviewer"])
                if fallen is not None:
                    nonces = {json.loads(signed["statement"])["nonce"] for signed in (fallen, one)}
                    check(fallen["decision"] == "approve" and fallen["keyId"] != one["keyId"] and len(nonces) == 2, "decided twice")
                    check(self.revoked(fallen, entry["at"], entry["facts"].get("keysSize", 0)), "decided twice, with a key that counted")
                before[one["reviewer"]] = one
                voters.pop(one["reviewer"], None)
                if one["decision"] == "approve":
                    voters[one["reviewer"]] = one
            used = leaf_of("approval.consumed", approval=request["id"])
            check(used is None or used["at"] < request["expiresAt"], "used late")
            held = [one for one in voters.values() if used is None or not self.revoked(one, used["at"], 0, strictly=True)]
            if request["state"] in ("approved", "consumed"):
                self.quorum(request, held, record)
        for decision in record["decisions"]:
            if decision["outcome"] == "allow" and decision["approval"] is not None:
                same("an approval that was used", by_request.get(decision["approval"], {}).get("state"), "consumed")
        for one in record.get("edits", []):
            statement = self.signed("countersign/edit/v1", one, record)
            same("edit", (statement["request"], statement["edited"], statement["arguments"]), (one["request"], one["action"], one["arguments"]))
            entry = leaf_of("approval.edited", approval=one["request"])
            self.whose(one, entry, entry["at"], entry["at"])
            if "delegation" in entry["facts"]:
                self.delegation(one, entry)
        for one in record.get("resolutions", []):
            statement = self.signed("countersign/resolution/v1", one, record)
            entry = leaf_of("step.reconciled", seq=one["seq"])
            same("resolution", (statement["unknown"], statement["seq"]), (one["id"], one["seq"]))
            if entry is not None:
                same("outcome", entry["facts"]["outcome"], statement["outcome"])
                self.whose(one, entry, entry["facts"].get("saidAt", entry["at"]), entry["at"])
        for grant in record.get("standingGrants", []):
            terms = sha256(jcs(grant["terms"]).encode()).hex()
            persons = set()
            asked = {group for need in grant["terms"]["requirements"] for group in (need["group"], *need.get("orGroups", []))}
            for one in grant["approvals"]:
                statement = self.signed("countersign/standing-grant/v1", one, record)
                same("terms", (statement["grant"], statement["terms"], statement["expiresAt"]), (grant["id"], terms, grant["expiresAt"]))
                entry = leaf_of("standing.approved", grant=grant["id"], reviewer=one["reviewer"])
                check(entry is not None and entry["facts"]["terms"] == terms, "an approval of a standing grant")
                delegation = one.get("delegation", {})
                wanted = {"keyId": one["keyId"], "signature": one["signature"], "person": one["person"], "groups": one["groups"]}
                wanted.update({"delegation": delegation.get("id"), "delegator": delegation.get("delegator")})
                wanted.update({"statement": sha256(one["statement"].encode()).hex(), **assertion_facts(one)})
                for name, value in wanted.items():
                    same(f"{name} of an approval of a standing grant", entry["facts"].get(name), value)
                same("time of an approval of a standing grant", entry["at"], one["at"])
                names = {one["reviewer"], one["person"], delegation.get("delegator"), delegation.get("person")} - {None}
                if delegation:
                    self.ahead_for(one, entry, grant)
                for use in grant["uses"]:
                    check(not names & {bar["person"] for bar in use["barred"]}, "a standing grant by who may not")
                    self.whose(one, entry, entry["at"], use["at"])
                if asked & self.members(one):
                    persons.add(delegation.get("person", one["person"]))
            check(len(persons) >= 2, "a standing grant by one person")
            for need in grant["terms"]["requirements"]:
                members = [one for one in grant["approvals"] if need["group"] in self.members(one)]
                check(len({one["person"] for one in members}) >= need["quorum"], "quorum of a standing grant")

    def signed(self, kind, one, record):
        fault = statement_fault(kind, one)
        check(fault is None, fault)
        statement = parse(one["statement"].encode())
        same("members of a statement", set(statement), set(STATEMENTS[kind].split()))
        same("statement", (statement["type"], statement["v"], statement["reviewer"], statement["team"]), (kind, 1, one["reviewer"], record["run"]["team"]))
        check(statement.get("run", record["run"]["id"]) == record["run"]["id"], "a statement on another run")
        check(one["reviewer"] != record["run"]["requestedBy"], "signed by who asked for the run")
        return statement

    def groups(self, one, recorded):
        return self.approvers.get(one["keyId"], {}).get("groups", recorded)

    def members(self, one):
        return set(one["groups"] if "delegation" in one else self.groups(one, one["groups"]))

    def quorum(self, request, voters, record):
        behind = next((edit for edit in record.get("edits", []) if edit["successor"] == request["id"]), None)
        editors = set() if behind is None else {*behind["editors"], *behind["persons"]}
        for need in request["requirements"]:
            persons = set()
            for one in voters:
                capacity = one.get("capacity", {})
                person = capacity.get("person", one["reviewer"])
                if {person, one["reviewer"]} & editors and "editorCounts" not in need:
                    continue
                allowed = {need["group"], *need.get("orGroups", [])}
                later = need.get("escalate")
                if later and (when(capacity["at"]) - when(request["openedAt"])).total_seconds() * 1000 >= later["afterMs"]:
                    allowed |= set(later["to"])
                recorded = capacity.get("groups", [need["group"]])
                member = allowed & set(recorded if "delegation" in capacity else self.groups(one, recorded))
                if member and ("signed" not in need or "passkey" in one):
                    persons.add(person)
            check(len(persons) >= need["quorum"], f"quorum of {need['group']}")

    def whose(self, one, entry, signed_at, used_at):
        """The key is the auditor's for this reviewer, and the log of people had it then."""
        trusted = self.approvers.get(one["keyId"])
        if trusted is None:
            check(not self.approvers, "a key that the auditor does not know")
            self.open.append("the trust file names no approvers")
        else:
            same("whose key", (trusted["principal"], trusted["publicKey"]), (one["reviewer"], one["publicKey"]))
            check(trusted.get("from", signed_at) <= signed_at and used_at < trusted.get("until", "9"), "a key outside of its time")
            if "passkey" in one and "rpIds" in self.trust:
                check(one["passkey"]["rpId"] in self.trust["rpIds"], "a passkey of another site")
        people = self.logs.get("people")
        if people is None or people["section"]["coverage"] != "full":
            self.open.append("the log of people is not here whole")
            return
        keys_size = entry["facts"].get("keysSize")
        if keys_size is not None and keys_size > max(people["tops"]):
            self.open.append("the log of people was longer when it was decided than it is here")
        placed = [(index, e) for index, e, _ in people["entries"] if e["facts"].get("keyId") == one["keyId"]]
        of = [e for _, e in placed]
        added = next((e for e in of if e["kind"] == "approver.key.added"), None)
        check(added is not None, "a key that nobody enrolled")
        check(sum(e["kind"] == "approver.key.added" for e in of) == 1, "a key that was enrolled twice")
        revoked = [index for index, e in placed if e["kind"] == "approver.key.revoked"]
        check(keys_size is None or all(index >= keys_size for index in revoked), "a key that was revoked by then")
        facts = added["facts"]
        same("enrolled", (facts["principal"], facts["publicKey"]), (one["reviewer"], one["publicKey"]))
        check(added["at"] <= signed_at, "a key from before it was enrolled")
        check(facts.get("confirmedBy", "-") not in (facts["principal"], facts["addedBy"], ""), "a key that nobody else confirmed")
        check(all(e["at"] > used_at for e in of if e["kind"] == "approver.key.revoked"), "a key that was revoked")
        for name in ("credentialId", "rpId", "origin") if "passkey" in one else ():
            same(name, facts.get(name), one["passkey"][name])

    def revoked(self, one, at, keys_size, strictly=False):
        """Whether the log of people had the end of the key by then. Where it is not here whole, nothing is known of it."""
        people = self.logs.get("people")
        if people is None or people["section"]["coverage"] != "full":
            return not strictly
        ends = [(i, e["at"]) for i, e, _ in people["entries"] if e["kind"] == "approver.key.revoked" and e["facts"].get("keyId") == one["keyId"]]
        return any(index < keys_size or (end < at if strictly else end <= at) for index, end in ends)

    def ahead_for(self, one, entry, grant):
        """A delegate approves ahead what is within all limits, and until the delegation ends at the most."""
        terms, limits = grant["terms"], one["delegation"]
        self.delegation({**one, "capacity": one}, entry)
        fits = terms["until"] <= limits["until"] and limits["team"] in (None, terms["team"]) and limits["tool"] in (None, terms["tool"])
        amount = next((need["amount"] for need in terms["requirements"] if "amount" in need), None)
        total = terms.get("sum", {})
        within = amount is not None and total.get("argument") == amount and total["max"] <= (limits["maxAmount"] or 0)
        check(fits and (limits["maxAmount"] is None or within), "a standing grant beyond a delegation")
        people = self.logs.get("people")
        if people is not None and people["section"]["coverage"] == "full":
            ended = [e["at"] for _, e, _ in people["entries"] if e["kind"] == "delegation.revoked" and e["facts"]["delegation"] == limits["id"]]
            check(not any(at <= use["at"] for at in ended for use in grant["uses"]), "a standing grant after its delegation")

    def delegation(self, one, entry):
        people, terms = self.logs.get("people"), one["capacity"]["delegation"]
        if people is None or people["section"]["coverage"] != "full":
            return
        of = [e for _, e, _ in people["entries"] if e["facts"].get("delegation") == terms["id"]]
        granted = [e for e in of if e["kind"] == "delegation.granted"]
        check(len(granted) == 1 and granted[0]["at"] <= entry["at"], "a delegation that nobody granted")
        facts = granted[0]["facts"]
        same("delegate", (facts["delegate"], facts["delegator"]), (one["reviewer"], terms["delegator"]))
        for name in ("team", "tool", "maxAmount", "from", "until"):
            same(f"delegation's {name}", facts.get(name), terms[name])
        check(all(e["at"] > entry["at"] for e in of if e["kind"] == "delegation.revoked"), "a delegation that was ended")
        check(terms["from"] <= one["capacity"]["at"] < terms["until"], "a delegation outside of its time")

    # Contents, histories, statements.
    def contents(self, section, record, leaves, beside):
        run, data_key = section["run"], next((e["facts"]["dataKey"] for _, e, _ in leaves if "dataKey" in e["facts"]), None)
        erased = {e["facts"].get("dataKey") or e["facts"].get("run") for e in beside if e["kind"] == "payload.erased"}
        if contents_of(self.root, section, data_key, erased):
            self.not_proven.append(f"what {run} was about: ERASED")
            return
        for request in record["approvals"]:
            for one in request["decisions"]:
                self.data(f"payloads/{json.loads(one['statement'])['rendered']}.json")

    def histories(self, section, record, beside):
        run = section["run"]
        seals = {}
        for facts in (e["facts"] for e in beside if e["kind"] == "history.sealed" and e["facts"]["run"] == run):
            of = [facts[name] for name in ("position", "events", "root")]
            same("two seals", of, [seals.setdefault(facts["temporalRunId"], facts)[name] for name in ("position", "events", "root")])
        if not section["histories"]:
            if "histories" in self.trust.get("require", []):
                self.open.append(f"{run} has no histories")
            return
        losses = {e["facts"]["temporalRunId"]: e["facts"] for e in beside if e["kind"] == "history.lost" and e["facts"]["run"] == run}
        check(not set(losses) & set(seals), "an execution that was sealed, and lost")
        executions = [one["temporalRunId"] for one in section["histories"]]
        activities, steps, ended, lost, last = set(), set(), set(), 0, None
        for position, one in enumerate(section["histories"]):
            document = self.json(one["file"])
            if document is None:
                lost += 1
                check(one["temporalRunId"] not in seals, "a history that was sealed, and is not here")
                same("position of a loss", losses.pop(one["temporalRunId"], {"position": position})["position"], position)
                continue
            events = document["events"]
            begun = events[0]["workflowExecutionStartedEventAttributes"]
            same("history", (begun["workflowId"], begun["originalExecutionRunId"]), (run, one["temporalRunId"]))
            same("the history before", begun.get("continuedExecutionRunId") or None, executions[position - 1] if position else None)
            last = events[-1]
            following = last.get("workflowExecutionContinuedAsNewEventAttributes", {}).get("newExecutionRunId")
            same("the next history", following, executions[position + 1] if position + 1 < len(executions) else None)
            if following is not None or last["eventType"].endswith(CLOSED):
                ended.add(one["temporalRunId"])
            seal = seals.pop(one["temporalRunId"], None)
            if seal is not None:
                root = root_of([sha256(b"\x00" + jcs(event).encode()) for event in events]).hex()
                same("seal", (seal["position"], seal["events"], seal["root"]), (position, len(events), root))
            elif record["run"]["closedAt"] is not None:
                self.open.append(f"{run}: an execution has no seal here")
            for event in events:
                self.activity(event, run, one["temporalRunId"], activities, steps)
        same("seals without a history", seals, {})
        same("losses of what is here", losses, {})
        if lost:
            self.open.append(f"{run}: {lost} histories are lost")
        elif not last["eventType"].endswith(CLOSED) and record["run"]["closedAt"] is not None:
            self.open.append(f"{run}: its history is cut off")
        fits = {"COMPLETED": ("completed",), "FAILED": ("failed", "cancelled"), "CANCELED": ("cancelled",)}
        how = "" if lost else last["eventType"].rsplit("_", 1)[1]
        check(record["run"]["status"] in fits.get(how, (record["run"]["status"],)), "another end than the history has")
        # A workflow that was terminated may lack what its last calls left.
        orderly = lost or last["eventType"].endswith(("_COMPLETED", "_FAILED"))
        whole = ended == set(executions)
        for decision in record["decisions"]:
            here = orderly and (whole or decision["activity"].split("/")[0] in ended)
            check(decision["outcome"] != "allow" or not here or decision["activity"] in activities, "an intent without its activity")
        limited = ((record["run"]["failure"] or {}).get("code") or "").startswith("limit_") or record["run"]["status"] == "cancelled"
        asked = {seq for execution, seq in steps if execution in ended}
        check(limited or asked <= {step["seq"] for step in record["steps"]}, "an activity without its step")

    def activity(self, event, run, execution, activities, steps):
        task, marker = event.get("activityTaskScheduledEventAttributes"), event.get("markerRecordedEventAttributes")
        if task is not None:
            activities.add(f"{execution}/{task['activityId']}")
            asked = [json.loads(base64.b64decode(one["data"])) for one in task.get("input", {}).get("payloads", [])[:1] if self.plain(one)]
            for one in asked:
                if isinstance(one, dict):
                    check(one.get("run", run) == run, "an activity on behalf of another run")
                    if task["activityType"]["name"] in ("model", "tool", "retrieval", "notify") and "seq" in one:
                        steps.add((execution, one["seq"]))
        if marker is not None and marker["markerName"] == "core_local_activity":
            about = json.loads(base64.b64decode(marker["details"]["data"]["payloads"][0]["data"]))
            activities.add(f"{execution}/{about['activity_id']}")

    def plain(self, payload):
        return base64.b64decode(payload.get("metadata", {}).get("encoding", "")) == b"json/plain"

    def statement(self, section, leaves):
        envelope, kind = self.json(section["statement"]), "application/vnd.in-toto+json"
        payload = base64.b64decode(envelope["payload"])
        same("type of the statement", envelope["payloadType"], kind)
        message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        signed = any(
            one["keyid"] == f"{name}+{key_hash.hex()}" and ed25519_verify(key, message, base64.b64decode(one["sig"]))
            for one in envelope["signatures"]
            for name, key_hash, key in self.keys_of(section["log"], max(self.logs[section["log"]]["tops"]))
        )
        check(signed, "the statement is not signed by the log's key")
        of = lambda *kinds: [entry for _, entry, _ in leaves if entry["kind"] in kinds]
        decided, flat = [entry["facts"] for entry in of("step.decided")], lambda entry: {"at": entry["at"], **entry["facts"]}
        predicate = {
            "log": self.logs[section["log"]]["section"]["origin"],
            "run": section["run"],
            "entries": [index for index, _, _ in leaves],
            "closed": flat(of("run.closed")[0]),
            "decisions": {name: sum(one["outcome"] == name for one in decided) for name in ("allow", "deny", "require_approval")},
            "policySets": sorted({one["policySet"] for one in decided}),
            "approvals": [{"decision": e["kind"][len("approval.") :], **flat(e)} for e in of("approval.approved", "approval.denied")],
            **({"started": flat(of("run.started")[0])} if of("run.started") else {}),
        }
        digest = sha256(b"".join(line + b"\n" for _, _, line in leaves)).hex()
        wanted = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": section["run"], "digest": {"sha256": digest}}],
            "predicateType": "urn:countersign:evidence:run:v1",
            "predicate": predicate,
        }
        check(jcs(wanted).encode() == payload, "the statement is not what the leaves say")

    def requirements(self):
        required, sections = self.trust.get("require", []), self.manifest["logs"]
        if required and not self.manifest["runs"]:
            self.open.append("something is required, and there is no run")
        if not set(self.trust.get("runs", [])) <= {one["run"] for one in self.manifest["runs"]}:
            self.open.append("a run that has to be here is not")
        of_runs = {one["log"] for one in self.manifest["runs"]}
        if {"contents", "decisions"} & set(required) and self.manifest["contents"] != "included":
            self.open.append("contents are required")
        if "whole-log" in required and any(one["coverage"] != "full" for one in sections if one["log"] in of_runs):
            self.open.append("whole logs are required")
        if "pinned" in required and not all(self.logs.get(log, {}).get("matched") for log in of_runs):
            self.open.append("a pin is required")
        known = {name for log in self.trust["logs"] for name, _, _ in self.keys_of(log)}
        if any(pin.split("\n")[0] not in known for pin in self.pinned):
            self.open.append("a pin of no known log")


def verdict_of(directory, trust, pinned):
    bundle = Bundle(directory, trust, pinned)
    try:
        bundle.verify()
    except (Refuted, AssertionError, ValueError, KeyError, TypeError, IndexError, AttributeError, OSError) as problem:
        return {"verdict": "refuted", "why": f"{type(problem).__name__}: {problem}"[:300]}
    except NotImplementedError as problem:
        bundle.open.append(str(problem))
    return {"verdict": "incomplete" if bundle.open else "verified", "open": bundle.open, "notProven": bundle.not_proven}


def main(arguments):
    if arguments == ["--serve"]:
        for line in sys.stdin:
            asked = json.loads(line)
            print(json.dumps(verdict_of(asked["directory"], asked["trust"], asked["pinned"])), flush=True)
        return 0
    directory, trust, *pinned = arguments
    found = verdict_of(directory, json.loads(Path(trust).read_text("utf-8")), [Path(one).read_text("utf-8") for one in pinned])
    print(json.dumps(found))
    return {"verified": 0, "refuted": 1, "incomplete": 2}[found["verdict"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
