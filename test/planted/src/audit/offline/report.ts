// breaks the-verifier-brings-only-its-packages
import pino from "pino";

export const log = pino();
