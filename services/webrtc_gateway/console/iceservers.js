// STUN and TURN servers that the gateway names in its answer (RFC 9725 section 4.6).

const LINK = /<((?:stun|turn)s?:[^<>]+)>((?:\s*;\s*[\w-]+="[^"]*")*)/g;
const PARAMETER = /;\s*([\w-]+)="([^"]*)"/g;

/** What a `Link` header says, as RTCPeerConnection takes it; empty without one. */
export function iceServers(header) {
  const servers = [];
  for (const [, urls, rest] of (header ?? "").matchAll(LINK)) {
    const { rel, username, credential } = Object.fromEntries([...rest.matchAll(PARAMETER)].map(([, name, value]) => [name, value]));
    if (rel === "ice-server") servers.push(username ? { urls, username, credential } : { urls });
  }
  return servers;
}
