/** SQLSTATE of what a statement here does when it found nothing to do. */
export const divisionByZero = "22012";

/** Of an insert that another attempt was faster with. */
export const uniqueViolation = "23505";

/** Of a lock that was not had in time. */
export const lockTimeout = "55P03";
