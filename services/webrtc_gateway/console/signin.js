// Signing in where the gateway has tokens: the token goes to the door once, which answers with a cookie that scripts
// cannot read. Nothing of it is kept here.

import { CommandError } from "./commands.js";
import { openDialog } from "./dialog.js";
import { Field, Form } from "./form.js";

const ADDRESS = "api/login";
const UNAUTHORIZED = 401;
const RENEW_EVERY_MS = 3600 * 1000; // the cookie lives for a working day; an open page stays signed in

/** Ask what this page may do, and show so much of it; ask for a token where that is nothing. */
export async function learnRights() {
  let response;
  try {
    response = await fetch(address(ADDRESS), { cache: "no-store" });
  } catch {
    return null; // the gateway is away: the feed says so
  }
  if (response.status === UNAUTHORIZED) askToken();
  if (!response.ok) return null;
  const rights = await response.json();
  const may = (action) => !rights.tokens || rights.actions.includes(action);
  document.body.toggleAttribute("data-may-control", may("control"));
  document.body.toggleAttribute("data-may-publish", may("publish"));
  return rights;
}

/** Ask for a token, once at a time; the page is loaded anew with it. */
export function askToken() {
  if (document.querySelector("dialog.signin")) return;
  const token = new Field("token", "Token", { type: "password", help: "From whoever runs this mesh.", maxlength: 4096 });
  const form = new Form([token], "Sign in", async (values) => {
    await signIn(values.token ?? "");
    location.reload();
  }, { label: "Sign in" });
  openDialog("Sign in", [form.element]).classList.add("signin");
  token.control.focus();
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
