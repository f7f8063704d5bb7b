// A mix as it is being changed here. What is changed is sent at most five times a second, the latest state wins, and
// one update is on its way at a time; the revision tells when somebody else has changed the mix meanwhile.

import { call, CommandError } from "../commands.js";
import { fullSpec, SERVICE } from "./model.js";

const SEND_EVERY_MS = 200;
const CONFLICT = 409;
const GONE = 404;

export class Draft {
  spec = null; // as it is shown here
  problem = null; // { kind: "conflict" | "refused" | "gone", message }
  #name;
  #revision = 0; // that `spec` was made from
  #newest = null; // the mesh's entry
  #own = false; // `spec` is as it was sent, with what the mesh keeps secret
  #changed = false; // since it was sent
  #sending = false;
  #sent_at_ms = -Infinity;
  #timer = null;
  #onChange;
  #closed = false;

  /** `onChange()` is told of another spec and of problems. */
  constructor(name, onChange) {
    this.#name = name;
    this.#onChange = onChange;
  }

  /** Whether something is on its way to the mesh. */
  get busy() {
    return this.#changed || this.#sending;
  }

  /** The mesh's own state: shown unless something is being changed here. */
  follow(entry) {
    this.#newest = entry;
    if (this.#hasNews) this.#adopt();
  }

  /** `edit(spec)` changes the spec in place. */
  change(edit) {
    edit(this.spec);
    if (this.problem?.kind === "refused") this.problem = null;
    this.#changed = true;
    this.#schedule();
    this.#onChange();
  }

  /** Give up what was changed here. */
  takeTheirs() {
    this.problem = null;
    this.#changed = false;
    this.#adopt();
  }

  /** Send what was changed here, over what somebody else has. */
  keepMine() {
    this.problem = null;
    this.#revision = this.#newest.revision;
    this.#changed = true;
    this.#schedule();
    this.#onChange();
  }

  /** Send what is left; nothing more is told. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    if (this.#changed && !this.#sending && !this.problem) this.#send();
  }

  get #hasNews() {
    if (this.busy || this.problem || !this.#newest) return false;
    const { revision } = this.#newest;
    return revision > this.#revision || (this.#own && revision === this.#revision);
  }

  #adopt() {
    this.#own = false;
    this.#revision = this.#newest.revision;
    this.spec = fullSpec(structuredClone(this.#newest.spec));
    this.#onChange();
  }

  #schedule() {
    if (this.#timer !== null || this.#sending || this.problem) return;
    const wait_ms = Math.max(0, this.#sent_at_ms + SEND_EVERY_MS - performance.now());
    this.#timer = setTimeout(() => this.#send(), wait_ms);
  }

  async #send() {
    this.#timer = null;
    this.#sending = true;
    this.#changed = false;
    this.#sent_at_ms = performance.now();
    try {
      // Nothing is waited for: what the mixer cannot show it tells with its state.
      const { revision } = await call(`${SERVICE}.update`, { ...this.spec, revision: this.#revision, wait_s: 0 });
      this.#revision = revision;
      this.#own = true;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.problem = await this.#judge(error);
    } finally {
      this.#sending = false;
    }
    if (this.#changed) return this.#closed ? this.#send() : this.#schedule();
    if (this.#closed) return;
    if (this.#hasNews) this.#adopt();
    else this.#onChange();
  }

  // A conflict is also a name that is taken: that of revisions is one where the mesh has another one.
  async #judge(error) {
    const said = { kind: "refused", message: error.plain };
    if (error.code === GONE) return { ...said, kind: "gone" };
    if (error.code !== CONFLICT) return said;
    try {
      const entry = await call(`${SERVICE}.get`, { mix: this.#name });
      if (entry.revision === this.#revision) return said;
      this.#newest = entry;
      return { kind: "conflict", message: "Somebody else has changed this mix meanwhile." };
    } catch (failure) {
      if (failure instanceof CommandError) return said;
      throw failure;
    }
  }
}
