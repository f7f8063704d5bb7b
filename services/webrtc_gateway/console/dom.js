// Elements, built without ever parsing a string as HTML: names and texts of the mesh are data, not markup.

const SVG = "http://www.w3.org/2000/svg";

// Path data on a 24 x 24 grid, drawn with the text's colour.
const ICONS = {
  soundOn: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11",
  soundOff: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5",
  enlarge: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  back: "M19 12H5M11 6l-6 6 6 6",
  forward: "M5 12h14M13 6l6 6-6 6",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  add: "M12 5v14M5 12h14",
  publish: "M12 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 16a5.6 5.6 0 0 1 0-8M16 8a5.6 5.6 0 0 1 0 8M5 19a9.9 9.9 0 0 1 0-14M19 5a9.9 9.9 0 0 1 0 14",
  mixes: "M4 5h16v14H4zM12.5 11.5h7.5v7.5h-7.5z",
  up: "M12 19V6M6.5 11L12 5.5l5.5 5.5",
  down: "M12 5v13M6.5 13L12 18.5l5.5-5.5",
  jobs: "M4 5h16v14H4zM8 5v14M16 5v14M4 9.7h4M4 14.3h4M16 9.7h4M16 14.3h4",
  signals: "M3 8h6v8h6V8h6M3 19h18",
  system: "M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01",
  snapshot: "M4 8h3.5L9 5.5h6L16.5 8H20v11H4zM12 16.5a3.3 3.3 0 1 0 0-6.6 3.3 3.3 0 0 0 0 6.6z",
  moment: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM12 7.5V12l3 2",
  record: "M12 18a6 6 0 1 0 0-12 6 6 0 0 0 0 12z",
  stop: "M7 7h10v10H7z",
  play: "M8 5.5v13l10-6.5z",
  cut: "M7.5 8.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM7.5 20.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM9.5 8l10 9M9.5 16l10-9",
  keyframe: "M12 4l8 8-8 8-8-8z",
  restart: "M20 12a8 8 0 1 1-2.6-5.9M20 4v4.5h-4.5",
  remove: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  fullscreen: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
};

/** An element with attributes, text and children; `on` holds its listeners. */
export function el(tag, { text, on, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  for (const [name, listener] of Object.entries(on ?? {})) node.addEventListener(name, listener);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}

/** One of the icons above, hidden from assistive technology: the button around it has the name. */
export function icon(name) {
  const drawing = svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" });
  drawing.append(svg("path", { d: ICONS[name] }));
  return drawing;
}

/** An SVG element with attributes. */
export function svg(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** Set text only when it differs, so an idle page does no layout work. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set or remove an attribute only when it differs. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** `url` when it is an http(s) address, else null: a `javascript:` address must never become a link. */
export function safeLink(url) {
  try {
    const parsed = new URL(url);
    return parsed.protocol === "http:" || parsed.protocol === "https:" ? parsed.href : null;
  } catch {
    return null; // not an absolute URL
  }
}
