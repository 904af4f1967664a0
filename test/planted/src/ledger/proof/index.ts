// breaks proofs-need-only-node-crypto
import { readFileSync } from "node:fs";

export const proof = readFileSync;
