// breaks offline-verification-reaches-no-server (by way of a room that reads the database)
import { registry } from "../../registry/index.ts";

export const verify = registry;
