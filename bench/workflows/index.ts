export { bareAgent, conversationAgent } from "./bare.ts";
