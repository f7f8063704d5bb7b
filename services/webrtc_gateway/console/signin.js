// Signing in where the gateway has tokens: the token goes to the door once, which answers with a cookie that scripts
// cannot read. Nothing of it is kept here.

import { openDialog } from "./dialog.js";
import { CommandError } from "./commands.js";
import { Field, Form } from "./form.js";

const ADDRESS = "api/login";
const UNAUTHORIZED = 401;

/** What this page may do, or null where the gateway wants a token first. */
export async function rights() {
  try {
    const response = await fetch(new URL(ADDRESS, document.baseURI), { cache: "no-store" });
    if (response.status === UNAUTHORIZED) return null;
    return response.ok ? await response.json() : {};
  } catch {
    return {}; // the gateway is away: the feed says so
  }
}

/** Ask for a token, once at a time; the page is loaded anew with it. */
export function askToken() {
  if (document.querySelector("dialog.signin")) return;
  const token = new Field("token", "Token", { type: "password", help: "From whoever runs this mesh: framemesh token makes one.", maxlength: 4096 });
  const form = new Form([token], "Sign in", async (values) => {
    await signIn(values.token ?? "");
    location.reload();
  }, { label: "Sign in" });
  openDialog("Sign in", [form.element]).classList.add("signin");
  token.control.focus();
}

async function signIn(token) {
  // What cannot stand in a header is no token.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new CommandError(400, "token: paste it whole, without spaces");
  let response;
  try {
    response = await fetch(new URL(ADDRESS, document.baseURI), { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  } catch {
    throw new CommandError(0, "the gateway cannot be reached");
  }
  if (response.ok) return;
  const { message } = await response.json().catch(() => ({}));
  throw new CommandError(response.status, `token: ${message || `the gateway answered ${response.status}`}`);
}
