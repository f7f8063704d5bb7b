// Jobs that take pictures out of videos: all of them, and a form for another one.

import { el, setAttribute, setText } from "../dom.js";
import { commandBox } from "../empty.js";
import { go } from "../router.js";
import { JobList } from "./list.js";
import { SERVICE } from "./model.js";
import { SubmitForm } from "./submit.js";

const HERE = "framemesh extract clip.mp4 --fps 1 -o pictures";
const AS_A_JOB = "framemesh extract clip.mp4 --to 'file://clip/{index:05d}.{autoext}'";

export class JobsPage {
  #mesh;
  #list = new JobList(lesson());
  #form = new SubmitForm((job) => go("jobs", job));
  #api = el("p", { class: "quiet api", hidden: true }, "Programs submit at ", el("code"), ", as its ", el("code", { text: "openapi.json" }), " says.");
  #unlisten = null;

  constructor(mesh) {
    this.#mesh = mesh;
    const intro = "Pictures out of a video, taken by any worker of the mesh. A job outlives this page.";
    this.element = el(
      "div",
      { class: "columns", "data-loading": true },
      el("section", { class: "card", "aria-label": "Jobs" }, el("h2", { text: "Jobs", tabindex: "-1" }), this.#list.element),
      el(
        "section",
        { class: "card", "aria-label": "New job", "data-needs": "control" },
        el("h2", { text: "New job" }),
        el("p", { class: "quiet", text: intro }),
        this.#form.element,
        this.#api,
      ),
    );
  }

  enter() {
    this.element.querySelector("h2").focus();
    this.#unlisten = this.#mesh.events.listen((event) => this.#list.event(event));
    // On a phone the form stands below the list: shown once that has its height, it does not move.
    this.#list.refresh().finally(() => setAttribute(this.element, "data-loading", null));
    this.update();
  }

  leave() {
    this.#unlisten?.();
    this.#unlisten = null;
    this.#list.leave();
  }

  update() {
    const address = (this.#mesh.status?.services ?? []).find(({ service }) => service === SERVICE)?.http_url ?? "";
    this.#api.hidden = !address;
    setText(this.#api.querySelector("code"), `${address}api/v1/submit`);
  }

  tick() {
    this.#list.tick();
  }
}

// What stands where no job is.
function lesson() {
  return el(
    "div",
    { class: "lesson" },
    el("p", { text: "There is none yet. A job takes pictures out of one video: so many a second, so many in all, or those of certain moments. Fill in the form, or use a shell:" }),
    commandBox("On this machine, without the mesh", HERE),
    commandBox("As a job of the mesh", AS_A_JOB),
  );
}
