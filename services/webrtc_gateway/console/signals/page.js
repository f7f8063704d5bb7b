// Outputs and inputs of machines and rules: how they are, buttons for outputs, and what was done last, by whom and why.

import { call, CommandError } from "../commands.js";
import { confirmed } from "../dialog.js";
import { el, setAttribute, setText } from "../dom.js";
import { commandBox } from "../empty.js";
import { clockTime, dateTime } from "../format.js";
import { toast } from "../toasts.js";
import { List } from "./list.js";
import { afterEvent, factsOfInput, factsOfRule, factsOfSignal, isChange, isOffMode, SERVICE, wordsOf } from "./model.js";

const ASK_EVERY_MS = 5000; // an event that was lost is made up for by then
const SOON_MS = 300; // changes that come together are asked for once
const CHANGES_SHOWN = 50;
const SAID = { by: "console", why: "by hand" };
const EXAMPLE = `framemesh call io-signal.start '{"signal":"do1","mode":"io","address":"file:///run/io/do1"}'`;
const OFF_MODE_TEXT = "All outputs go to their safe states at once, and none is set until you end it here, also after a restart.";

export class SignalsPage {
  #mesh;
  #entries = { signals: [], inputs: [], rules: [] };
  #signals = new List("Outputs", "There is no output yet.", factsOfSignal, (verb, request, button) => this.#give(verb, request, button));
  #inputs = new List("Inputs", "There is no input yet.", factsOfInput);
  #rules = new List("Rules", "There is no rule yet.", factsOfRule);
  #lesson = el("div", { class: "lesson", hidden: true }, el("p", { text: "Outputs, inputs and rules stand in mesh.yaml, or are begun one by one:" }), commandBox("An output: a control file", EXAMPLE));
  #problem = el("p", { class: "form-error", role: "status", hidden: true });
  #changes = el("ol", { class: "event-list", tabindex: "0", "aria-label": "Last changes" });
  #none = el("p", { class: "none", text: "Nothing has changed yet." });
  #offMode = el("button", { type: "button", class: "button small danger", "data-needs": "control" });
  #unlisten = null;
  #timer = null;
  #asked_at_ms = -Infinity;

  constructor(mesh) {
    this.#mesh = mesh;
    this.#offMode.addEventListener("click", () => this.#switchOffMode());
    this.element = el(
      "div",
      { class: "columns signals", "data-loading": true },
      el(
        "section",
        { class: "card", "aria-label": "Signals" },
        el("div", { class: "card-head" }, el("h2", { text: "Signals", tabindex: "-1" }), this.#offMode),
        this.#problem,
        this.#lesson,
        this.#signals.element,
        this.#inputs.element,
        this.#rules.element,
      ),
      el("section", { class: "card", "aria-label": "Last changes" }, el("h2", { text: "Last changes" }), this.#none, this.#changes),
    );
  }

  enter() {
    this.element.querySelector("h2").focus();
    this.#unlisten = this.#mesh.events.listen((event) => this.#event(event));
    this.#showChanges();
    // On a phone the changes stand below the list: shown once that has its height, they do not move.
    this.#refresh().finally(() => setAttribute(this.element, "data-loading", null));
  }

  leave() {
    this.#unlisten?.();
    this.#unlisten = null;
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  update() {}

  tick() {
    for (const list of [this.#signals, this.#inputs, this.#rules]) list.tick();
    if (performance.now() - this.#asked_at_ms >= ASK_EVERY_MS && !document.hidden) this.#refresh();
  }

  async #refresh() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#asked_at_ms = performance.now();
    try {
      this.#entries = { signals: [], inputs: [], rules: [], ...(await call(`${SERVICE}.list`)) };
      this.#say("");
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#say(error.message);
    }
    this.#show();
  }

  #show() {
    const { signals, inputs, rules } = this.#entries;
    this.#signals.show(signals);
    this.#inputs.show(inputs);
    this.#rules.show(rules);
    this.#lesson.hidden = signals.length + inputs.length + rules.length > 0 || !this.#problem.hidden;
  }

  #say(text) {
    setText(this.#problem, text);
    this.#problem.hidden = !text;
  }

  // An event of the mesh, or null: many came at once.
  #event(event) {
    if (event !== null && event.service !== SERVICE) return;
    if (event) {
      this.#entries.signals = this.#entries.signals.map((entry) => (entry.spec.signal === event.id ? afterEvent(entry, event) : entry));
      this.#show();
    }
    if (event === null || isChange(event)) this.#showChanges();
    this.#timer ??= setTimeout(() => this.#refresh(), SOON_MS);
  }

  #showChanges() {
    const told = this.#mesh.events.where(isChange);
    this.#changes.replaceChildren(...told.slice(0, CHANGES_SHOWN).map(changeLine));
    this.#none.hidden = told.length > 0;
    setText(this.#offMode, isOffMode(told) ? "End off-mode" : "Off-mode");
  }

  async #give(verb, request, button) {
    button.disabled = true;
    try {
      await call(`${SERVICE}.${verb}`, { ...request, ...SAID });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      toast(error.message, "bad");
    } finally {
      button.disabled = false;
      // The keyboard goes on where it was: a button that cannot be pressed has no focus.
      if (document.activeElement === document.body) button.focus();
    }
  }

  async #switchOffMode() {
    const active = !isOffMode(this.#mesh.events.where(isChange));
    if (active && !(await confirmed("Begin off-mode?", OFF_MODE_TEXT, "Begin off-mode"))) return;
    await this.#give("off-mode", { active }, this.#offMode);
  }
}

function changeLine(event) {
  const error = event.error?.message ?? "";
  return el(
    "li",
    { class: "event", "data-tone": event.error ? "bad" : null },
    el("time", { text: clockTime(event.at_ns), title: dateTime(event.at_ns) }),
    el("span", { class: "event-what", text: event.id }),
    el("span", { class: "event-state", text: wordsOf(event) }),
    ...(error ? [el("span", { class: "event-error", text: error })] : []),
  );
}
