// Signing in where the gateway has tokens: the token goes to the door once, which answers with a cookie that scripts
// cannot read. Nothing of it is kept here.

import { CommandError } from "./commands.js";
import { openDialog } from "./dialog.js";
import { el } from "./dom.js";
import { Field, Form } from "./form.js";

const ADDRESS = "api/login";
const UNAUTHORIZED = 401;
const RENEW_EVERY_MS = 3600 * 1000; // the cookie lives for a working day; an open page stays signed in

let signedIn = false;

/** Ask what this page may do, and show so much of it; ask for a token where that is nothing. */
export async function learnRights() {
  let response;
  try {
    response = await fetch(address(ADDRESS), { cache: "no-store" });
  } catch {
    return null; // the gateway is away: the feed says so
  }
  if (response.status === UNAUTHORIZED) {
    askToken(signedIn ? "Your token is not taken any more: it has expired, or was taken back." : "");
  }
  if (!response.ok) return null;
  const rights = await response.json();
  signedIn = rights.tokens;
  const may = (action) => !rights.tokens || rights.actions.includes(action);
  document.body.toggleAttribute("data-may-control", may("control"));
  document.body.toggleAttribute("data-may-publish", may("publish"));
  document.body.toggleAttribute("data-sees-all", !rights.tokens || rights.streams.includes("*"));
  return rights;
}

/** Ask for a token, once at a time; the page is loaded anew with it. */
export function askToken(why = "") {
  if (document.querySelector("dialog.signin")) return;
  const token = new Field("token", "Token", { type: "password", help: "From whoever runs this mesh.", maxlength: 4096 });
  const form = new Form([token], "Sign in", async (values) => {
    await signIn(values.token ?? "");
    location.reload();
  }, { label: "Sign in" });
  const reason = el("p", { class: "form-error", role: "alert", hidden: !why, text: why });
  openDialog("Sign in", [reason, form.element, howToGet()]).classList.add("signin");
  token.control.focus();
}

// Nobody who stands before a closed door should have to look for the manual.
function howToGet() {
  const command = "framemesh token --key token.key --stream '*' --allow view,control --expires 8h";
  return el(
    "details",
    { class: "hint-more" },
    el("summary", { text: "How do I get a token?" }),
    el("p", { class: "quiet", text: "Whoever runs this mesh makes one where its key is, or takes it from its tokens file:" }),
    el("code", { class: "command-line", tabindex: "0", text: command }),
    el("p", { class: "quiet", text: "view lets you watch, control lets you give commands, publish lets you send a camera." }),
  );
}

/** End what `askToken` began. */
export async function signOut() {
  await fetch(address("api/logout"), { method: "POST" }).catch(() => {}); // without an answer the page asks again
  location.reload();
}

/** Stay signed in for as long as the page is open. */
export function staySignedIn() {
  setInterval(() => fetch(address(ADDRESS), { method: "POST" }).catch(() => {}), RENEW_EVERY_MS);
}

async function signIn(token) {
  // What cannot stand in a header is no token.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new CommandError(400, "token: paste it whole, without spaces");
  let response;
  try {
    response = await fetch(address(ADDRESS), { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  } catch {
    throw new CommandError(0, "the gateway cannot be reached");
  }
  if (response.ok) return;
  const { message } = await response.json().catch(() => ({}));
  throw new CommandError(response.status, `token: ${message || `the gateway answered ${response.status}`}`);
}

function address(path) {
  return new URL(path, document.baseURI);
}
