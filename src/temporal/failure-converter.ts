/**
 * What a failure says and where it came from are payloads like others, so that the codec encrypts them: a tool's or provider's words may be
 * somebody's contents. Its type stays readable: that is a code of ours. In the workflow bundle too, so it imports nothing else.
 */
import { DefaultFailureConverter } from "@temporalio/common";

export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
