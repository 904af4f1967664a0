export { listBudgets, setBudget } from "./budgets.ts";
export type { Budget, BudgetEvent, NewBudget } from "./budgets.ts";
export { RegistryError } from "./errors.ts";
export { freeze, freezesInForce, freezesOfRelease, liftFreeze, targetExists, teamsTouched } from "./freezes.ts";
export type { FreezeInForce, FreezeTarget } from "./freezes.ts";
export { defineAgent, parseManifest } from "./manifest.ts";
export type { AgentInCode, AgentManifest, ManifestSource, ManifestTool } from "./manifest.schema.ts";
export {
  activatePolicySet,
  activePolicySet,
  latestActivation,
  lockPolicies,
  policyActivations,
  policySetByDigest,
  storePolicySet,
  teamsOfPolicySet,
} from "./policy-sets.ts";
export type { StoredPolicySet } from "./policy-sets.ts";
export {
  countMembers,
  hashToken,
  listPrincipals,
  newToken,
  principalByToken,
  principalExists,
  putPrincipal,
  removePrincipal,
  rolesFor,
  teamsWith,
} from "./principals.ts";
export type { Principal, Role, RoleTeams } from "./principals.ts";
export { releaseOf, releaseOfDocument } from "./release-of.ts";
export {
  channelEvents,
  listAgents,
  moveChannel,
  newestReleases,
  registerRelease,
  releaseByDigest,
  resolveChannel,
} from "./releases.ts";
export type { AgentPage, AgentRow, ChannelEvent, ChannelMove } from "./releases.ts";
export {
  approveProposal,
  openProposals,
  policyGuardOf,
  ProposalError,
  proposePolicySet,
  setPolicyGuard,
} from "./policy-guard.ts";
export type { PolicyGuard, PolicyProposal } from "./policy-guard.ts";
export { activeShadow, addShadowCounts, setShadow, shadowCounts } from "./policy-shadow.ts";
export type { PolicyShadow, ShadowCount } from "./policy-shadow.ts";
