import { timeOf } from "../shared/format.ts";
import { element, setStatus, setText } from "../shared/page.ts";

/** Age in ms from which figures are stale although no request has failed: two polls are missing. */
const MAX_AGE = 5000;

/**
 * Whether the figures on the page are current. Stale ones turn grey, the state in the header included, and a line says of what
 * time they are: no color then claims a state that is not known.
 */
export class Freshness {
  readonly #content = element("content", HTMLElement);
  readonly #state = element("state", HTMLElement);
  readonly #line = element("stale", HTMLElement);
  readonly #onLost: () => void;
  #answeredAt = 0;

  /** @param onLost shows states as unknown */
  constructor(onLost: () => void) {
    this.#onLost = onLost;
    // The network of this machine is gone: no request has to fail first.
    addEventListener("offline", () => this.lost("This computer is offline."));
  }

  /** The server answered. */
  answered(): void {
    this.#answeredAt = Date.now();
    delete this.#content.dataset.stale;
    this.#line.hidden = true;
    setText(this.#line, "");
  }

  /** The server did not answer, or not with figures. */
  lost(reason: string): void {
    const since = this.#answeredAt === 0 ? "" : ` Figures are from ${timeOf(this.#answeredAt).slice(0, 8)}.`;
    this.#content.dataset.stale = "";
    this.#line.hidden = false;
    setText(this.#line, `${reason}${since} Retrying.`);
    setStatus(this.#state, reason.replace(/\.$/, ""), "bad");
    this.#onLost();
  }

  /** The page is visible again: while it was hidden it did not ask. */
  resumed(): void {
    if (this.#answeredAt > 0 && Date.now() - this.#answeredAt > MAX_AGE) {
      this.lost("The page was in the background.");
      setStatus(this.#state, "Updating", "waiting");
    }
  }
}
