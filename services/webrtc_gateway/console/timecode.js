// Reads the burnt-in time code: 24 x 2 cells of 16 px in the top-left corner, 40 bits of milliseconds and a CRC-8.

const COLUMNS = 24;
const ROWS = 2;
const CELL_PX = 16;
const WRAP_MS = 2 ** 40;
const LEAST_CONTRAST = 64; // black and white cells closer than this are not a code
const CRC_POLYNOMIAL = 0x07;
const CRC_START = 0xa5;
// Sizes a picture may have been scaled to on its way, the likely ones first.
const SCALES = [1, 1 / 2, 2 / 3, 3 / 4, 3 / 2, 2, 1 / 3, 1 / 4, 3, 4 / 3];

export class TimecodeReader {
  #canvas = document.createElement("canvas");
  #context = this.#canvas.getContext("2d", { willReadFrequently: true });
  #scale = null;

  /** The code of the picture `video` shows, in ms since 1970 nearest to `near_ms`; null when there is none. */
  read(video, near_ms) {
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null; // it is being taken off the page
    const scales = this.#scale ? [this.#scale, ...SCALES] : SCALES;
    const largest = Math.max(...scales.filter((scale) => fits(video, scale)), 0);
    if (!largest) return null;
    const pixels = this.#corner(video, CELL_PX * COLUMNS * largest, CELL_PX * ROWS * largest);
    for (const scale of scales) {
      if (!fits(video, scale)) continue;
      const low_ms = decode(pixels, CELL_PX * scale);
      if (low_ms === null) continue;
      this.#scale = scale;
      return low_ms + Math.round((near_ms - low_ms) / WRAP_MS) * WRAP_MS;
    }
    return null;
  }

  #corner(video, width_px, height_px) {
    this.#canvas.width = Math.ceil(width_px);
    this.#canvas.height = Math.ceil(height_px);
    if (typeof VideoFrame === "function") {
      // Cropping before drawing converts the corner only: 0.5 ms instead of 4-16 ms for a 720p picture.
      const rect = { x: 0, y: 0, width: even(this.#canvas.width), height: even(this.#canvas.height) };
      const whole = new VideoFrame(video, { timestamp: 0 });
      const crop = new VideoFrame(whole, { visibleRect: rect });
      this.#context.drawImage(crop, 0, 0);
      crop.close();
      whole.close();
    } else {
      this.#context.drawImage(video, 0, 0);
    }
    return this.#context.getImageData(0, 0, this.#canvas.width, this.#canvas.height);
  }
}

function fits(video, scale) {
  return CELL_PX * COLUMNS * scale <= video.videoWidth && CELL_PX * ROWS * scale <= video.videoHeight;
}

function even(pixels) {
  return pixels - (pixels % 2); // 4:2:0 pictures are cropped on even pixels
}

function decode(pixels, cell_px) {
  const levels = [];
  for (let index = 0; index < COLUMNS * ROWS; index += 1) {
    levels.push(level(pixels, (index % COLUMNS) * cell_px, Math.floor(index / COLUMNS) * cell_px, cell_px));
  }
  const darkest = Math.min(...levels);
  const lightest = Math.max(...levels);
  if (lightest - darkest < LEAST_CONTRAST) return null;
  const threshold = (darkest + lightest) / 2;
  const bytes = [0, 0, 0, 0, 0, 0];
  levels.forEach((value, index) => {
    if (value > threshold) bytes[index >> 3] |= 0x80 >> (index & 7);
  });
  if (crc(bytes.slice(0, 5)) !== bytes[5]) return null;
  return bytes.slice(0, 5).reduce((value, byte) => value * 256 + byte, 0);
}

// Mean of the green channel over the middle half of a cell, where the codec's ringing does not reach.
function level(pixels, left, top, cell_px) {
  const from_x = Math.round(left + cell_px / 4);
  const from_y = Math.round(top + cell_px / 4);
  const size = Math.max(1, Math.round(cell_px / 2));
  let sum = 0;
  for (let y = from_y; y < from_y + size; y += 1) {
    for (let x = from_x; x < from_x + size; x += 1) sum += pixels.data[(y * pixels.width + x) * 4 + 1];
  }
  return sum / (size * size);
}

function crc(bytes) {
  let value = CRC_START;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 0x80 ? ((value << 1) ^ CRC_POLYNOMIAL) & 0xff : value << 1;
  }
  return value;
}
