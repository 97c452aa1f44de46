const immediate = setImmediate;

/** Waits until the present turn of the event loop is over, fake timers or not. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    immediate(() => resolve());
  });
}
