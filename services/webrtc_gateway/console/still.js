// The last picture of a session that was ended: closing it blanks its video.

import { el } from "./dom.js";

const WIDTH_PX = 960; // sharp enough to recognise, small enough to keep for every tile

export class Still {
  element = el("canvas", { "aria-hidden": "true", hidden: true });

  /** Show what `video` shows now. */
  keep(video) {
    if (!video.videoWidth) return;
    const scale = Math.min(1, WIDTH_PX / video.videoWidth);
    this.element.width = Math.round(video.videoWidth * scale);
    this.element.height = Math.round(video.videoHeight * scale);
    this.element.getContext("2d").drawImage(video, 0, 0, this.element.width, this.element.height);
    this.element.hidden = false;
  }

  hide() {
    this.element.hidden = true;
  }
}
