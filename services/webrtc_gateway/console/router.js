// The address after `#` names the page: it can be linked to, reloaded, and left with the browser's back button.

/** `#/stream/cam0` -> ["stream", "cam0"]; the wall for what is no page. */
export function currentRoute() {
  const [page, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const name = decode(rest.join("/"));
  if (page === "stream" && name) return { page, name };
  return { page: ["add", "publish", "mixes", "jobs", "signals", "system"].includes(page) ? page : "wall", name };
}

/** The address of a page. */
export function addressOf(page, name = "") {
  if (page === "wall") return "#/";
  return name ? `#/${page}/${encodeURIComponent(name)}` : `#/${page}`;
}

/** Go to a page. */
export function go(page, name = "") {
  location.hash = addressOf(page, name);
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a percent sign typed by hand
  }
}
