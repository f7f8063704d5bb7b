// The mesh's public commands over HTTP: POST api/cmd/<service>.<verb>[/<resource>] with a JSON body.

const DEADLINE_MS = 20000; // an owner may take `wait_s` (5 s) and a device its own time
const ASK_SIGN_IN = "framemesh:signin";

/** A command was refused, or nobody answered; `code` is the HTTP status, 0 when there was no answer. */
export class CommandError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }

  /** The text without what stands at a form's field anyway: the command, and the path within it. */
  get plain() {
    return this.message.replace(/^[a-z-]+\.[a-z-]+: /, "").replace(/ - at `\$\.[a-z_.]+`$/, "");
  }

  /** The one of `names` that the text is about, or null: errors begin with their field, or name its path. */
  fieldOf(names) {
    const [, first] = /^([a-z_]+)[ .:]/.exec(this.message) ?? [];
    const [, path] = /\$\.([a-z_]+)/.exec(this.message) ?? [];
    // Of what is within a field of the request: `sampling.count`.
    const [, within] = /(?:^|\$\.)[a-z_]+\.([a-z_]+)/.exec(this.message) ?? [];
    const [, missing] = /field `([a-z_]+)`/.exec(this.message) ?? [];
    return [within, path, missing, first].find((name) => names.includes(name)) ?? null;
  }
}

/** The reply of a command. Throws CommandError. */
export async function call(command, request = {}, resource = "") {
  const path = ["api/cmd", command, resource].filter(Boolean).map((part) => (part === "api/cmd" ? part : encodeURIComponent(part)));
  const response = await ask(path.join("/"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
  });
  return response.json();
}

/** The newest picture of a stream, as a Blob. Throws CommandError. */
export async function picture(stream) {
  return (await ask(`frame/${encodeURIComponent(stream)}`)).blob();
}

/** The picture of a stream nearest to a moment, as `GET frame/` takes it, and what it is. Throws CommandError. */
export async function pictureAt(stream, at) {
  const response = await ask(`frame/${encodeURIComponent(stream)}?at=${encodeURIComponent(at)}`);
  const told = (name) => response.headers.get(`X-Framemesh-${name}`) ?? "";
  return {
    blob: await response.blob(),
    captured_ns: Number(told("Captured-Ns")),
    off_ns: Number(told("Off-Ns")),
    origin: told("Origin"),
    sequence: told("Sequence"),
  };
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...options, signal: AbortSignal.timeout(DEADLINE_MS) });
  } catch (error) {
    throw new CommandError(0, error.name === "TimeoutError" ? "the gateway did not answer in time" : "the gateway cannot be reached");
  }
  if (response.ok) return response;
  if (response.status === 401) document.dispatchEvent(new Event(ASK_SIGN_IN));
  throw new CommandError(response.status, await refusal(response));
}

async function refusal(response) {
  try {
    const { message } = await response.json();
    if (typeof message === "string" && message) return message;
  } catch {
    // not JSON: a proxy's page; its status says enough
  }
  return `the gateway answered ${response.status}`;
}
