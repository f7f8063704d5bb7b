"""The HTTP API of `las_video_frame_extract`, version v1: tasks are submitted, polled, and their pictures fetched."""
