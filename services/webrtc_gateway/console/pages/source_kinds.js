// What a stream can be made of: an address to begin with, and what to know about it.

export const KINDS = [
  {
    kind: "rtsp",
    title: "IP camera (RTSP)",
    example: "rtsp://user:password@camera.local/stream1",
    help: "The path is in the camera's manual. The password is kept apart and shown nowhere.",
  },
  {
    kind: "onvif",
    title: "IP camera (ONVIF)",
    example: "onvif://user:password@camera.local",
    help: "The camera tells its own stream addresses. “Find cameras” lists those that announce themselves.",
  },
  {
    kind: "v4l2",
    title: "USB or CSI camera",
    example: "v4l2:///dev/video0",
    help: "A camera of the node itself. “Find cameras” lists what is plugged in.",
  },
  {
    kind: "genicam",
    title: "Machine vision camera",
    example: "genicam://",
    help: "GigE Vision or USB3 Vision, by serial number or address. “Find cameras” lists them.",
  },
  {
    kind: "file",
    title: "File",
    example: "file:///clips/line1.mp4",
    help: "A path on the node, below its media folders; it starts again at its end.",
  },
  {
    kind: "test",
    title: "Test pattern",
    example: "test://?size=1280x720&fps=30",
    help: "A moving picture with sound, for trying things out.",
  },
  {
    kind: "network",
    title: "Network stream",
    example: "srt://0.0.0.0:9000?mode=listener",
    help: "srt://, udp://, rtmp:// or http(s)://, pulled or listened for.",
  },
  {
    kind: "screen",
    title: "Screen",
    example: "screen://:0",
    help: "What a display of the node shows.",
  },
  {
    kind: "app",
    title: "Application",
    example: "app://",
    help: "Your own program writes the pictures. The stream waits until it does.",
  },
];
