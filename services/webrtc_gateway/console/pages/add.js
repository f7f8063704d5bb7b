// Add a stream: what it is made of, its name, and the few settings that most streams need.

import { call, CommandError } from "../commands.js";
import { el, setAttribute } from "../dom.js";
import { Field, Form, NAME } from "../form.js";
import { addressOf, go } from "../router.js";
import { toast } from "../toasts.js";
import { KINDS } from "./source_kinds.js";

export class AddPage {
  #mesh;
  #stream;
  #source;
  #node = new Field("node", "Node", { options: [["", "by the mesh"]], help: "The host that the camera or the file is at." });
  #form;
  #kinds;
  #found = el("div", { class: "found", "aria-live": "polite" });
  #find = el("button", { type: "button", class: "button", text: "Find cameras" });
  #made = el("p", { class: "made", hidden: true });

  constructor(mesh) {
    this.#mesh = mesh;
    this.#stream = new Field("stream", "Name", { required: true, ...NAME, placeholder: "cam0" });
    this.#source = new Field("source", "Source", { required: true, inputmode: "url", help: KINDS[0].help, placeholder: KINDS[0].example });
    const more = [
      new Field("size", "Size", { placeholder: "as the source", help: "For example 1280x720." }),
      new Field("fps", "Pictures per second, at most", { type: "number", min: 1, max: 1000, placeholder: "all" }),
      new Field("transport", "Transport", { options: [["", "tcp, udp where needed"], "tcp", "udp"], help: "Of RTSP and ONVIF." }),
      this.#node,
      new Field("timecode", "Burn a time code into the picture", { type: "checkbox" }),
    ];
    const fields = [this.#stream, this.#source, ...more];
    const layout = [
      this.#source.element,
      this.#stream.element,
      el("details", { class: "more" }, el("summary", { text: "More settings" }), ...more.map(({ element }) => element)),
    ];
    this.#form = new Form(fields, "Add the stream", (values) => this.#add(values), { layout, label: "Add a stream" });
    this.#kinds = el("div", { class: "kinds", role: "group", "aria-label": "Kind of source" }, ...KINDS.map((kind) => this.#kindButton(kind)));
    this.#find.addEventListener("click", () => this.#look());
    this.element = el(
      "div",
      { class: "columns" },
      el("div", { class: "card" }, el("h2", { text: "Add a stream", tabindex: "-1" }), this.#kinds, this.#form.element, this.#made),
      el(
        "div",
        { class: "card" },
        el("h2", { text: "Cameras" }),
        el("p", { class: "quiet", text: "What is plugged into the nodes, and what announces itself on their networks." }),
        this.#find,
        this.#found,
      ),
    );
    this.#choose(KINDS[0], false);
  }

  enter() {
    if (this.name) this.#stream.value = this.name;
    this.#made.hidden = true;
    this.update();
    this.element.querySelector("h2").focus();
  }

  leave() {}

  tick() {}

  update() {
    this.#node.setOptions([["", "by the mesh"], ...captureNodes(this.#mesh)]);
  }

  #kindButton(kind) {
    return el("button", { type: "button", class: "kind", "data-kind": kind.kind, text: kind.title, on: { click: () => this.#choose(kind, true) } });
  }

  #choose(kind, fill) {
    for (const button of this.#kinds.children) setAttribute(button, "aria-pressed", button.dataset.kind === kind.kind);
    this.#source.setHelp(kind.help);
    setAttribute(this.#source.control, "placeholder", kind.example);
    const untouched = this.#source.value === "" || KINDS.some(({ example }) => example === this.#source.value);
    if (!fill || !untouched) return;
    this.#source.value = kind.example;
    this.#source.control.focus();
    this.#source.control.select();
  }

  async #add(values) {
    this.#made.hidden = true;
    if (values.fps) values.fps = Number(values.fps);
    if (!values.stream) return this.#form.fail(new CommandError(400, "stream: give it a name"));
    if (!values.source) return this.#form.fail(new CommandError(400, "source: say where the pictures come from"));
    if (this.#mesh.streams.some(({ name }) => name === values.stream)) {
      return this.#form.fail(new CommandError(409, `stream ${values.stream} is there already; choose another name`));
    }
    try {
      await call("capture.start", values);
    } catch (error) {
      // What was asked for is kept, and tried again: a camera may be switched on later.
      if (error instanceof CommandError && (await exists(values.stream))) this.#tellMade(values.stream);
      throw error;
    }
    toast(`${values.stream} is there`);
    this.#form.element.reset();
    return go("stream", values.stream);
  }

  #tellMade(stream) {
    this.#made.replaceChildren(
      "The stream has been added all the same, and is tried again and again. ",
      el("a", { href: addressOf("stream", stream), text: `Open ${stream}` }),
      " to watch, correct or remove it.",
    );
    this.#made.hidden = false;
  }

  async #look() {
    this.#find.disabled = true;
    this.#found.replaceChildren(el("p", { class: "none", text: "Looking …" }));
    const nodes = captureNodes(this.#mesh);
    const lists = await Promise.allSettled(nodes.map((node) => call("capture.devices", { refresh: true, network: true }, node)));
    this.#find.disabled = false;
    const failed = lists.find(({ status }) => status === "rejected")?.reason;
    const devices = lists.flatMap(({ value }) => (value?.devices ?? []).map((device) => ({ ...device, node: value.node })));
    const none = failed?.message ?? (nodes.length ? "No camera was found." : "No capture is running, so nothing can look.");
    this.#found.replaceChildren(...(devices.length ? [el("ul", { class: "rows" }, ...devices.map((device) => this.#device(device)))] : [el("p", { class: "none", text: none })]));
  }

  #device({ kind, source, model, vendor, address, present, stream, error, node }) {
    const title = [vendor, model].filter(Boolean).join(" ") || source;
    const use = el("button", { type: "button", class: "button small", text: "Use", "aria-label": `Use ${title}` });
    use.addEventListener("click", () => {
      this.#choose(KINDS.find((one) => one.kind === kind) ?? KINDS[0], false);
      this.#source.value = source;
      this.#node.value = node;
      this.#stream.control.focus();
    });
    const state = !present ? "away" : stream ? `is ${stream}` : "";
    return el(
      "li",
      { class: "row" },
      el("span", { class: "row-name", text: title }),
      ...(state ? [el("span", { class: "chip", text: state })] : []),
      use,
      el("span", { class: "row-facts", text: [kind, address, node].filter(Boolean).join(" · ") }),
      el("span", { class: "row-place", text: source }),
      ...(error ? [el("span", { class: "row-error", text: error })] : []),
    );
  }
}

function captureNodes({ status }) {
  return (status?.services ?? []).filter(({ service }) => service === "capture").map(({ node }) => node);
}

async function exists(stream) {
  try {
    return (await call("capture.list", { stream })).streams.length > 0;
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}
