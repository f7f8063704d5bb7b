// The capture instant that travels with the packets (abs-capture-time), carried to a picture on screen by RTP time.

const NTP_EPOCH_MS = 2208988800000; // 1900 to 1970
const VIDEO_CLOCK_KHZ = 90; // RTP clock of video, RFC 6184

/** When the picture of `rtp_timestamp` was captured, in ms since 1970 by the server's clock; null when nobody says. */
export function capturedAt(receiver, rtp_timestamp) {
  const source = receiver?.getSynchronizationSources?.()[0];
  if (!source?.captureTimestamp) return null;
  const behind = rtp_timestamp === undefined ? 0 : (source.rtpTimestamp - rtp_timestamp) | 0; // wraps at 32 bits
  return source.captureTimestamp - NTP_EPOCH_MS - behind / VIDEO_CLOCK_KHZ;
}
