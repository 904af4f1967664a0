import { mkdirSync, renameSync, rmSync, symlinkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { Json } from "../../../src/core/json.ts";
import { canonicalText } from "../../../src/store/canonical.ts";
import type { Anything } from "../evidence-draft.ts";
import { shop, signed, payloadOf } from "./attack.ts";
import type { Attack } from "./attack.ts";

export const fileAttacks: readonly Attack[] = [
  {
    attack: "a content changed, nothing else",
    base: "selected",
    code: "file_changed",
    tamper: (d, w) => {
      d.mends = false;
      d.put(payloadOf(d, w), "{}");
    },
  },
  {
    attack: "a content changed, and the manifest with it",
    base: "selected",
    code: "content_mismatch",
    tamper: (d, w) => d.put(payloadOf(d, w), '{"status":"ok","value":1}'),
  },
  {
    attack: "a file deleted",
    base: "selected",
    code: "file_missing",
    tamper: (d, w) => {
      const path = payloadOf(d, w);
      d.after.push((root) => rmSync(join(root, path)));
    },
  },
  {
    attack: "a content left out",
    base: "selected",
    code: "content_missing",
    tamper: (d, w) => {
      const path = payloadOf(d, w);
      d.files.delete(path);
    },
  },
  {
    attack: "what a reviewer was shown left out",
    base: "selected",
    code: "content_missing",
    tamper: (d, w) => {
      const { rendered } = JSON.parse(signed(d.json(d.record(w.runs.approved))).statement);
      d.files.delete(`payloads/${rendered}.json`);
    },
  },
  {
    attack: "a file replaced by a symbolic link",
    base: "selected",
    code: "not_a_file",
    tamper: (d, w) => {
      const path = payloadOf(d, w);
      d.after.push((root) => {
        rmSync(join(root, path));
        symlinkSync("/etc/hostname", join(root, path));
      });
    },
  },
  {
    attack: "a folder replaced by a symbolic link",
    base: "selected",
    code: "not_a_file",
    tamper: (d) =>
      d.after.push((root) => {
        renameSync(join(root, "payloads"), join(root, "elsewhere"));
        symlinkSync("elsewhere", join(root, "payloads"));
      }),
  },
  {
    attack: "a file replaced by a folder",
    base: "selected",
    code: "not_a_file",
    tamper: (d, w) => {
      const path = payloadOf(d, w);
      d.after.push((root) => {
        rmSync(join(root, path));
        mkdirSync(join(root, path));
      });
    },
  },
  {
    attack: "the manifest replaced by a symbolic link",
    base: "selected",
    code: "not_a_file",
    tamper: (d) =>
      d.after.push((root) => {
        renameSync(join(root, "manifest.json"), join(root, "m.json"));
        symlinkSync("m.json", join(root, "manifest.json"));
      }),
  },
  {
    attack: "a path in the manifest that climbs out (zip slip)",
    base: "selected",
    code: "path_unsafe",
    tamper: (d) => {
      d.mends = false;
      d.manifest.files["../../etc/passwd"] = { bytes: 1, sha256: "0".repeat(64) };
    },
  },
  {
    attack: "an absolute path in the manifest",
    base: "selected",
    code: "path_unsafe",
    tamper: (d) => {
      d.mends = false;
      d.manifest.files["/etc/passwd"] = { bytes: 1, sha256: "0".repeat(64) };
    },
  },
  {
    attack: "a path with backslashes in the manifest",
    base: "selected",
    code: "path_unsafe",
    tamper: (d) => {
      d.mends = false;
      d.manifest.files["..\\..\\secret"] = { bytes: 1, sha256: "0".repeat(64) };
    },
  },
  {
    attack: "a run's record said to lie outside",
    base: "selected",
    code: "path_unsafe",
    tamper: (d, w) => {
      d.section(w.runs.approved).record = "../record.json";
    },
  },
  {
    attack: "a hidden file named",
    base: "selected",
    code: "path_unsafe",
    tamper: (d) => {
      d.mends = false;
      d.manifest.files["runs/.ssh"] = { bytes: 1, sha256: "0".repeat(64) };
    },
  },
  {
    attack: "a file of terabytes (sparse)",
    base: "selected",
    code: "file_too_large",
    tamper: (d, w) => {
      const path = payloadOf(d, w);
      d.after.push((root) => truncateSync(join(root, path), 2 ** 41));
    },
  },
  {
    attack: "a file said to have gigabytes",
    base: "selected",
    code: "file_too_large",
    tamper: (d, w) => {
      d.mends = false;
      d.manifest.files[d.record(w.runs.approved)]!.bytes = 2 ** 33;
    },
  },
  {
    attack: "a leaf of megabytes",
    base: "selected",
    code: "file_too_large",
    tamper: (d) => d.putLeaves(shop, [`"${"x".repeat(3_000_000)}"`, ...d.leaves(shop)]),
  },
  {
    attack: "a key twice in the manifest",
    base: "selected",
    code: "not_canonical",
    tamper: (d) => {
      d.manifestText = canonicalText(d.manifest as unknown as Json).replace("{", '{"format":"another",');
    },
  },
  {
    attack: "a key twice in a record",
    base: "selected",
    code: "not_canonical",
    tamper: (d, w) => {
      const path = d.record(w.runs.approved);
      d.put(path, d.text(path).replace('"agent":', '"agent":"billing","agent":'));
    },
  },
  {
    attack: "a record with white space",
    base: "selected",
    code: "not_canonical",
    tamper: (d, w) => {
      const path = d.record(w.runs.approved);
      d.put(path, JSON.stringify(d.json(path), undefined, 1));
    },
  },
  {
    attack: "a record with keys in another order",
    base: "selected",
    code: "not_canonical",
    tamper: (d, w) => {
      const path = d.record(w.runs.approved);
      const { v, ...rest } = d.json(path);
      d.put(path, JSON.stringify({ v, ...rest }));
    },
  },
  {
    attack: "a record with a number in another spelling",
    base: "selected",
    code: "not_canonical",
    tamper: (d, w) => {
      const path = d.record(w.runs.approved);
      d.put(path, d.text(path).replace('"v":1}', '"v":1.0}'));
    },
  },
  {
    attack: "a record that is not UTF-8",
    base: "selected",
    code: "not_canonical",
    tamper: (d, w) => {
      const path = d.record(w.runs.approved);
      d.put(path, Buffer.concat([d.files.get(path)!, Buffer.of(0xff)]));
    },
  },
  {
    attack: "a history nested 20,000 deep",
    base: "selected",
    code: "not_canonical",
    tamper: (d, w) =>
      d.put(d.section(w.runs.approved).histories[0]!.file, `${"[".repeat(20_000)}${"]".repeat(20_000)}`),
  },
  {
    attack: "half a character in a history",
    base: "selected",
    code: "not_canonical",
    tamper: (d, w) => d.put(d.section(w.runs.approved).histories[0]!.file, '{"events":"\\ud800"}'),
  },
  {
    attack: "a manifest of another version",
    base: "selected",
    code: "manifest_malformed",
    tamper: (d) => {
      (d.manifest as Anything).format = "countersign/evidence/v9";
    },
  },
  {
    attack: "a field in the manifest that nobody knows",
    base: "selected",
    code: "manifest_malformed",
    tamper: (d) => {
      (d.manifest as Anything).verified = true;
    },
  },
  {
    attack: "no manifest",
    base: "selected",
    code: "manifest_malformed",
    tamper: (d) => d.after.push((root) => rmSync(join(root, "manifest.json"))),
  },
  {
    attack: "something needed that no verifier knows",
    base: "selected",
    code: "unknown_need",
    verdict: "incomplete",
    tamper: (d) => d.manifest.needs.push("quantum-seals"),
  },
  {
    attack: "a run named twice",
    base: "selected",
    code: "malformed",
    tamper: (d, w) => d.manifest.runs.push(d.section(w.runs.approved)),
  },
  {
    attack: "a run named that has no entries",
    base: "selected",
    code: "run_missing",
    tamper: (d, w) => {
      d.section(w.runs.twin).run = `run_${"0".repeat(26)}`;
    },
  },
  {
    attack: "a record of another shape",
    base: "selected",
    code: "malformed",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.steps = "none")),
  },
  {
    attack: "workflow code changed",
    base: "selected",
    code: "content_mismatch",
    tamper: (d) => {
      const path = [...d.files.keys()].find((name) => name.startsWith("code/"))!;
      d.put(path, `${d.text(path)}\n;`);
    },
  },
];
