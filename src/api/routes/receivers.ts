import {
  addedReceiver,
  addReceiverBody,
  changedReceiver,
  changeReceiverBody,
  receiverPage,
  receiverParams,
  receiversQuery,
  removedReceiver,
  testedReceiver,
} from "../receivers.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

export const receiversRoutes = {
  addReceiver: {
    method: "POST",
    path: "/v1/receivers",
    summary: "Have a receiver told of a team's approval requests",
    access: ["operator"],
    body: addReceiverBody,
    status: 201,
    response: addedReceiver,
  },
  listReceivers: {
    method: "GET",
    path: "/v1/receivers",
    summary: "Who is told of approval requests, newest first, and how that goes",
    access: everyone,
    query: receiversQuery,
    status: 200,
    response: receiverPage,
  },
  testReceiver: {
    method: "POST",
    path: "/v1/receivers/:receiver/test",
    summary: "Send a receiver a test, once",
    access: ["operator"],
    params: receiverParams,
    status: 200,
    response: testedReceiver,
  },
  changeReceiver: {
    method: "POST",
    path: "/v1/receivers/:receiver/change",
    summary: "Change what a receiver gets",
    access: ["operator"],
    params: receiverParams,
    body: changeReceiverBody,
    status: 200,
    response: changedReceiver,
  },
  removeReceiver: {
    method: "POST",
    path: "/v1/receivers/:receiver/remove",
    summary: "Tell a receiver nothing more, and forget its address",
    access: ["operator"],
    params: receiverParams,
    status: 200,
    response: removedReceiver,
  },
} as const satisfies Record<string, Route>;
