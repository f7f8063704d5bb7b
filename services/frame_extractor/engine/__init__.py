"""Takes pictures out of videos: those shown at the moments asked for exactly, decoding as little as it can.

One jpg a second, two threads, start and imports included (`python -m tests.bench.extract`, medians of two rounds on the
reference machine; below it the best of ffmpeg, OpenCV and a plain PyAV loop, the same pictures by hash):

                                          wall s    CPU s   peak MB
1080p H.264, 40 s, groups of 10 s            2.7      5.0       125
                                             4.9      7.8       111
720p H.264, B-frames, 80 s, groups of 2 s    1.8      3.2       111
                                             3.5      5.4       104
4K H.265, 15 s, groups of 2 s                3.3      6.2       310
                                             6.8     12.4       213

With one thread it is 1.4, 1.5 and 2.0 times as fast as the best of them, for 1.4, 1.6 and 2.0 times less CPU.
More than four fifths of the CPU is decoding in libavcodec; a look at 15,000 packets takes 0.14 s, the imports 0.28.
Where pictures lie 10 s apart, seeking with PyAV or OpenCV takes a fifth more CPU and a third more time.
"""

from services.frame_extractor.engine.errors import ExcerptError, VideoError
from services.frame_extractor.engine.limits import Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.take import OnPicture, Taken, take

__all__ = ["ExcerptError", "Limits", "OnPicture", "OpenVideo", "Taken", "VideoError", "take"]
