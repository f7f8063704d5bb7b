// A form whose errors stand at their field: the texts of the mesh name the field they are about.

import { CommandError } from "./commands.js";
import { el, setAttribute, setText } from "./dom.js";

/** Of a field for the name of something in the mesh. */
export const NAME = {
  pattern: "(?!.*--)[a-z0-9]([a-z0-9\\-]{0,61}[a-z0-9])?",
  maxlength: 63,
  help: "Small letters and digits, with single hyphens between them.",
};

let numbered = 0;

/** One labelled control. `options` makes it a select: strings, or [value, text]. */
export class Field {
  #help;
  #error = el("p", { class: "field-error", hidden: true });

  constructor(name, label, { help = "", options = null, value = "", list = null, type = "text", ...attributes } = {}) {
    const id = `field-${name}-${(numbered += 1)}`;
    this.name = name;
    this.#help = el("p", { class: "field-help", id: `${id}-help`, text: help });
    this.#error.id = `${id}-error`;
    const shared = { id, name, "aria-describedby": `${id}-help ${id}-error`, ...attributes };
    if (options) {
      this.control = el("select", { class: "control", ...shared });
      this.setOptions(options);
    } else if (type === "checkbox") {
      this.control = el("input", { type, class: "check", ...shared });
    } else {
      const plain = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
      this.control = el("input", { type, class: "control", ...plain, ...shared, list: list ? `${id}-list` : null });
    }
    if (type === "checkbox") this.control.checked = Boolean(value);
    else if (value) this.control.value = value;
    const suggestions = list ? [el("datalist", { id: `${id}-list` }, ...list.map((text) => el("option", { value: text })))] : [];
    const labelled = el("label", { for: id, text: label });
    const parts = type === "checkbox" ? [el("div", { class: "check-line" }, this.control, labelled)] : [labelled, this.control];
    this.element = el("div", { class: "field", "data-field": name }, ...parts, ...suggestions, this.#help, this.#error);
    this.control.addEventListener("input", () => this.setError(""));
  }

  get value() {
    if (this.control.type === "checkbox") return this.control.checked;
    return this.control.value.trim();
  }

  set value(value) {
    if (this.control.type === "checkbox") this.control.checked = Boolean(value);
    else this.control.value = value;
    this.setError("");
  }

  setOptions(options) {
    const before = this.control.options.length ? this.control.value : null;
    const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
    const shown = JSON.stringify(pairs);
    if (shown === this.control.dataset.shown) return;
    this.control.dataset.shown = shown;
    this.control.replaceChildren(...pairs.map(([value, text]) => el("option", { value, text })));
    if (pairs.some(([value]) => value === before)) this.control.value = before;
  }

  get help() {
    return this.#help.textContent;
  }

  setHelp(text) {
    setText(this.#help, text);
  }

  setError(text) {
    setText(this.#error, text);
    this.#error.hidden = !text;
    setAttribute(this.control, "aria-invalid", text ? "true" : null);
  }
}

/** Fields, a button, and what came of it. `submit(values)` may throw CommandError. */
export class Form {
  #fields;
  #button;
  #result = el("p", { class: "form-error", role: "alert", hidden: true });
  #submit;

  constructor(fields, action, submit, { layout = null, label = "" } = {}) {
    this.#fields = fields;
    this.#submit = submit;
    this.#button = el("button", { type: "submit", class: "button primary", text: action });
    this.element = el(
      "form",
      { class: "form", novalidate: true, "aria-label": label || null, on: { submit: (event) => this.#send(event) } },
      ...(layout ?? fields.map(({ element }) => element)),
      this.#result,
      el("div", { class: "form-foot" }, this.#button),
    );
  }

  /** What was filled in; a field that is empty is not sent, so that it gets its default. */
  get values() {
    const filled = this.#fields.filter(({ value }) => value !== "" && value !== false);
    return Object.fromEntries(filled.map(({ name, value }) => [name, value]));
  }

  async #send(event) {
    event.preventDefault();
    if (this.#button.disabled) return;
    this.show("");
    if (this.#unfit()) return;
    const said = this.#button.textContent;
    this.#button.disabled = true;
    setText(this.#button, "Working …");
    try {
      await this.#submit(this.values);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.fail(error);
    } finally {
      this.#button.disabled = false;
      setText(this.#button, said);
      if (document.activeElement === document.body) this.#button.focus(); // a disabled button loses it
    }
  }

  /** Show an error at the field that it names, else below all. */
  fail(error) {
    const name = error.fieldOf(this.#fields.map((field) => field.name));
    const field = this.#fields.find((one) => one.name === name);
    if (!field) return this.show(error.message);
    field.element.closest("details")?.setAttribute("open", "");
    field.setError(error.plain);
    field.control.focus();
  }

  // The field's own rule, before the mesh is asked: its help is the better text.
  #unfit() {
    const field = this.#fields.find(({ control }) => control.validity.patternMismatch);
    if (!field) return false;
    field.setError(`“${field.value}” cannot be used. ${field.help}`);
    field.control.focus();
    return true;
  }

  show(text) {
    for (const field of this.#fields) field.setError("");
    setText(this.#result, text);
    this.#result.hidden = !text;
  }
}
