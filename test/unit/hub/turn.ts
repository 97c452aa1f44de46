const immediate = setImmediate;

/** Waits for the end of the current turn of the event loop, with real or fake timers. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    immediate(() => resolve());
  });
}
