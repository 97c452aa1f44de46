/** Delay before a refused client connects again, in ms. */
const AGAIN_AFTER = 100;
const MOST_ATTEMPTS = 50;

/**
 * Connects as a client of Phoenix does: one that met a worker without room tries again, and may meet another one.
 * @param refused called each time
 */
export async function untilRoom<T>(connect: () => Promise<T>, refused?: () => void): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await connect();
    } catch (error) {
      if (attempt === MOST_ATTEMPTS || !String(error).includes("limits.max_connections")) throw error;
      refused?.();
      await Bun.sleep(AGAIN_AFTER);
    }
  }
}
