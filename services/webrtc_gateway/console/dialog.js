// Modal dialogs: the browser's own <dialog> keeps the focus inside, and Escape closes it.

import { el, icon } from "./dom.js";

let numbered = 0;

/** Open a dialog with a title, content and buttons below; it leaves the document when it closes. */
export function openDialog(title, content, buttons = [], { wide = false } = {}) {
  const id = `dialog-title-${(numbered += 1)}`;
  const close = el("button", { type: "button", class: "button square plain", "aria-label": "Close" }, icon("close"));
  const dialog = el(
    "dialog",
    { class: wide ? "dialog wide" : "dialog", "aria-labelledby": id },
    el("header", { class: "dialog-head" }, el("h2", { id, text: title }), close),
    el("div", { class: "dialog-body" }, ...content),
    ...(buttons.length ? [el("footer", { class: "dialog-foot" }, ...buttons)] : []),
  );
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Ask before something is taken away; true when it was confirmed. */
export function confirmed(title, text, action) {
  return new Promise((resolve) => {
    let answer = false;
    const cancel = el("button", { type: "button", class: "button", text: "Cancel" });
    const go = el("button", { type: "button", class: "button danger", text: action });
    const dialog = openDialog(title, [el("p", { text })], [cancel, go]);
    cancel.addEventListener("click", () => dialog.close());
    go.addEventListener("click", () => {
      answer = true;
      dialog.close();
    });
    dialog.addEventListener("close", () => resolve(answer));
    cancel.focus();
  });
}
