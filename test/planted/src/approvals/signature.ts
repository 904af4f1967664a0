// breaks signatures-need-no-server
import { rows } from "../store/rows.ts";

export const signature = rows;
