import swagger from "@fastify/swagger";
import fastify, { LogController } from "fastify";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import {
  jsonSchemaTransform,
  jsonSchemaTransformObject,
  serializerCompiler,
  validatorCompiler,
} from "fastify-type-provider-zod";

import { ApiError, bodyOf, errorBody, errorCodes, isErrorCode, maxBodyBytes, routes } from "../api/index.ts";
import type { Route, RouteName } from "../api/index.ts";
import type { RunId } from "../core/ids.ts";
import { callerIn, createGuard, guardScope, principalIn } from "./auth.ts";
import type { Services, ServerOptions } from "./dependencies.ts";
import { asApiError } from "./errors.ts";
import { streamBacktest } from "./backtest-stream.ts";
import { streamRunEvents } from "./event-stream.ts";
import { addCodecEndpoint, createCodecCors } from "./codec-endpoint.ts";
import type { Context, DocumentRoute, Handlers } from "./handler.ts";
import { accessHandlers } from "./handlers/access.ts";
import { agentHandlers } from "./handlers/agents.ts";
import { editHandlers } from "./handlers/approval-edits.ts";
import { messageHandlers } from "./handlers/approval-messages.ts";
import { approvalHandlers } from "./handlers/approvals.ts";
import { delegationHandlers } from "./handlers/delegations.ts";
import { healthHandlers } from "./handlers/health.ts";
import { budgetHandlers } from "./handlers/budgets.ts";
import { erasureHandlers } from "./handlers/erasures.ts";
import { freezeHandlers } from "./handlers/freezes.ts";
import { keyHandlers } from "./handlers/keys.ts";
import { ledgerHandlers } from "./handlers/ledger.ts";
import { policyHandlers } from "./handlers/policies.ts";
import { policyShadowHandlers } from "./handlers/policy-shadow.ts";
import { receiverHandlers } from "./handlers/receivers.ts";
import { recordHandlers } from "./handlers/records.ts";
import { reportHandlers } from "./handlers/report.ts";
import { standingHandlers } from "./handlers/standing-grants.ts";
import { outcomeHandlers } from "./handlers/unknown-outcomes.ts";
import { runHandlers } from "./handlers/runs.ts";
import { createHostCheck } from "./host-check.ts";
import { addLogResources } from "./log-resources.ts";
import { problemOf, speaksProblems } from "./problem.ts";
import { createOriginCheck } from "./origin-check.ts";
import { addPages } from "./pages.ts";
import { routeScopes } from "./route-scopes.ts";
import type { Scope, ScopeOf } from "./scope.ts";

const requestTimeoutMs = 60_000;

const handlers: Handlers<DocumentRoute> = {
  ...healthHandlers,
  ...agentHandlers,
  ...runHandlers,
  ...recordHandlers,
  ...approvalHandlers,
  ...delegationHandlers,
  ...keyHandlers,
  ...editHandlers,
  ...messageHandlers,
  ...outcomeHandlers,
  ...standingHandlers,
  ...policyHandlers,
  ...budgetHandlers,
  ...erasureHandlers,
  ...freezeHandlers,
  ...policyShadowHandlers,
  ...ledgerHandlers,
  ...receiverHandlers,
  ...reportHandlers,
  ...accessHandlers,
};

/** The HTTP application: every route of the table, behind one guard. */
export async function buildHttp(
  services: Services,
  options: Pick<ServerOptions, "logger" | "allowedHosts" | "temporalUi">,
): Promise<FastifyInstance> {
  const http = fastify({
    loggerInstance: options.logger.child(
      {},
      { redact: ["req.headers.authorization", "req.headers.cookie", "*.token"] },
    ),
    bodyLimit: maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: true,
    // Each request would be two lines; refusals and failures are logged where they are answered.
    logController: new LogController({ disableRequestLogging: true }),
    routerOptions: { maxParamLength: 200 },
  }) as unknown as FastifyInstance;
  http.decorateRequest("principal", undefined);
  http.decorateRequest("caller", undefined);
  http.setValidatorCompiler(validatorCompiler);
  http.setSerializerCompiler(serializerCompiler);
  http.setErrorHandler((error, request, reply) => answerError(error, request, reply));
  http.setNotFoundHandler((request) => {
    throw new ApiError("not_found", `no route ${request.method} ${request.url.split("?")[0]}`, {
      hint: "see /openapi.json",
    });
  });
  http.addHook("onRequest", createCodecCors(options.temporalUi));
  http.addHook("onRequest", createHostCheck([...(options.allowedHosts ?? []), services.site().rpId]));
  http.addHook("onRequest", createOriginCheck(services.site, options.temporalUi));
  http.addHook("onRequest", createGuard(services.pool));
  http.addHook("preHandler", guardScope);
  http.addHook("onSend", async (_request, reply) => {
    if (!reply.hasHeader("cache-control")) reply.header("cache-control", "no-store");
    reply.header("x-content-type-options", "nosniff");
  });
  await describe(http);
  await http.register(async (scope) => {
    for (const name of Object.keys(handlers) as DocumentRoute[]) addRoute(scope, services, name);
    addStream(scope, services, "watchRun", (request, reply) =>
      streamRunEvents(services, (request.params as { run: RunId }).run, request, reply),
    );
    addLogResources(scope, services);
    addCodecEndpoint(scope, services, options.temporalUi);
    addStream(scope, services, "backtestPolicies", (request, reply) => streamBacktest(services, request, reply));
  });
  await addPages(http);
  http.get("/openapi.json", { config: { access: "public" }, schema: { hide: true } as object }, async () =>
    http.swagger(),
  );
  return http;
}

async function describe(http: FastifyInstance): Promise<void> {
  await http.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Countersign",
        version: "1",
        description: "Durable agents under policy. Errors are listed by code in `Error`.",
      },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
}

function addRoute(http: FastifyInstance, services: Services, name: DocumentRoute): void {
  const route: Route = routes[name];
  const handle = handlers[name] as (request: unknown, context: Context) => Promise<unknown>;
  http.route({
    method: route.method,
    url: route.path,
    config: { access: route.access, scope: scopeOf(services, name) },
    schema: schemaOf(name, route),
    handler: async (request, reply) => {
      const { params, query, body, headers } = request;
      reply.code(route.status);
      return handle(
        { params, query, body, headers },
        { services, caller: () => callerIn(request), principal: () => principalIn(request), reply },
      );
    },
  });
}

function scopeOf(services: Services, name: RouteName): ScopeOf {
  const about = routeScopes[name] as (request: unknown, services: Services) => Scope | Promise<Scope>;
  return (request) => about(request, services);
}

function addStream(
  http: FastifyInstance,
  services: Services,
  name: Exclude<RouteName, DocumentRoute>,
  handler: (request: FastifyRequest, reply: FastifyReply) => Promise<void>,
): void {
  const route: Route = routes[name];
  const { response, ...schema } = schemaOf(name, route);
  http.route({
    method: route.method,
    url: route.path,
    config: { access: route.access, scope: scopeOf(services, name) },
    schema: { ...schema, produces: ["text/event-stream"], response } as object,
    handler,
  });
}

function schemaOf(name: string, route: Route) {
  return {
    operationId: name,
    summary: route.summary,
    tags: [route.path.split("/")[2] ?? ""],
    security: route.access === "public" ? [] : [{ token: [] }],
    ...(route.params === undefined ? {} : { params: route.params }),
    ...(route.query === undefined ? {} : { querystring: route.query }),
    ...(route.headers === undefined ? {} : { headers: route.headers }),
    ...(route.body === undefined ? {} : { body: route.body }),
    response: {
      [route.status]: route.response,
      ...(route.unwell === undefined ? {} : { [route.unwell]: route.response }),
      "4xx": errorBody,
      "5xx": errorBody,
    },
  };
}

/** Errors go out as they are, without the route's schema: it may know another shape for the status. */
function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refusal = asApiError(error, request.id);
  const status = isErrorCode(refusal.code) ? errorCodes[refusal.code].status : 500;
  const facts = {
    code: refusal.code,
    method: request.method,
    route: request.routeOptions.url,
    caller: request.principal?.id,
  };
  if (status >= 500) request.log.error({ err: error, ...facts }, refusal.message);
  else request.log.info(facts, refusal.message);
  if (status === 401) reply.header("www-authenticate", "Bearer");
  const isProblem = speaksProblems(request.routeOptions.url);
  return reply
    .code(status)
    .type(isProblem ? "application/problem+json" : "application/json; charset=utf-8")
    .serializer((body: unknown) => JSON.stringify(body))
    .send(isProblem ? problemOf(refusal, status) : bodyOf(refusal));
}
