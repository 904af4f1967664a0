import { ApplicationFailure, proxySinks, workflowInfo } from "@temporalio/workflow";
import type { Sinks, WorkflowInterceptors, WorkflowOutboundCallsInterceptor } from "@temporalio/workflow";

import { stepKinds } from "../src/core/action.ts";
import { lifecycleActivities } from "../src/core/contract.ts";

/** What a replay listens to: every activity that the code schedules, with its arguments. A live run says nothing. */
export interface ReplaySinks extends Sinks {
  replay: { scheduled(activityType: string, args: unknown[]): void };
}

const { replay } = proxySinks<ReplaySinks>();
const known: readonly string[] = [...stepKinds, ...lifecycleActivities];

/**
 * The gate sees activities, so everything else by which a workflow could reach the outside is refused here: child workflows, signals
 * to other workflows, Nexus operations, and activities of any other type.
 */
class Outbound implements WorkflowOutboundCallsInterceptor {
  async scheduleActivity(
    ...[input, next]: Parameters<NonNullable<WorkflowOutboundCallsInterceptor["scheduleActivity"]>>
  ): Promise<unknown> {
    assertKnown(input.activityType);
    report(input);
    return next(input);
  }

  async scheduleLocalActivity(
    ...[input, next]: Parameters<NonNullable<WorkflowOutboundCallsInterceptor["scheduleLocalActivity"]>>
  ): Promise<unknown> {
    assertKnown(input.activityType);
    report(input);
    return next(input);
  }

  startChildWorkflowExecution(): never {
    throw refused("child workflows");
  }

  signalWorkflow(): never {
    throw refused("signals to other workflows");
  }

  startNexusOperation(): never {
    throw refused("Nexus operations");
  }
}

function report({ activityType, args }: { readonly activityType: string; readonly args: unknown[] }): void {
  if (workflowInfo().unsafe.isReplaying) replay.scheduled(activityType, args);
}

function assertKnown(activityType: string): void {
  if (!known.includes(activityType)) throw refused(`activity \`${activityType}\``);
}

function refused(what: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(`${what}: not governed, so a workflow here cannot use it`, "ungoverned");
}

export const interceptors = (): WorkflowInterceptors => ({ outbound: [new Outbound()] });
