import {
  confirmedKey,
  enrolPasskeyBody,
  enrolmentOptions,
  keyPage,
  keyParams,
  listKeysQuery,
  proposeKeyBody,
  proposedKey,
  revokedKey,
} from "../keys.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

export const keysRoutes = {
  listKeys: {
    method: "GET",
    path: "/v1/keys",
    summary: "Keys that reviewers sign with, newest first",
    access: everyone,
    query: listKeysQuery,
    status: 200,
    response: keyPage,
  },
  proposeKey: {
    method: "POST",
    path: "/v1/keys",
    summary: "Propose an Ed25519 key; it counts when an admin other than its owner has confirmed it",
    access: ["reviewer"],
    body: proposeKeyBody,
    status: 201,
    response: proposedKey,
  },
  beginPasskey: {
    method: "POST",
    path: "/v1/keys/passkey/options",
    summary: "What a browser needs to make a passkey for the caller",
    access: ["reviewer"],
    status: 200,
    response: enrolmentOptions,
  },
  proposePasskey: {
    method: "POST",
    path: "/v1/keys/passkey",
    summary: "Propose the passkey that the browser made",
    access: ["reviewer"],
    body: enrolPasskeyBody,
    status: 201,
    response: proposedKey,
  },
  confirmKey: {
    method: "POST",
    path: "/v1/keys/:key/confirm",
    summary: "Confirm a proposed key, as an admin who is neither its owner nor who proposed it",
    access: [],
    params: keyParams,
    status: 200,
    response: confirmedKey,
  },
  revokeKey: {
    method: "POST",
    path: "/v1/keys/:key/revoke",
    summary: "Revoke a key for good: one's own, or as an admin anybody's",
    access: everyone,
    params: keyParams,
    status: 200,
    response: revokedKey,
  },
} as const satisfies Record<string, Route>;
