/** Whether a URL's `hostname` is this machine by its name alone, whatever a resolver says. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}
