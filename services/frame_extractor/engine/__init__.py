"""Takes pictures out of videos: those shown at the moments asked for exactly, decoding as little as it can.

One jpg a second, two threads, start and imports included (`python -m tests.bench.extract`; single runs beside each
other on the reference machine, with other load):

                                  wall s    CPU s   peak MB
1080p H.264, 60 s, groups of 10 s    4.2      7.6       124
    by OpenCV                        8.9     11.8       108
4K H.265, 20 s, groups of 2 s        4.9      8.4       318
    by OpenCV                       10.3     17.0       290

More than four fifths of the CPU is decoding in libavcodec; a look at 15,000 packets takes 0.14 s, the imports 0.28.
Where pictures lie 10 s apart, in groups of 2 s, it takes as much CPU as seeking with PyAV or OpenCV does.
"""

from services.frame_extractor.engine.errors import ExcerptError, VideoError
from services.frame_extractor.engine.limits import Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.take import OnPicture, Taken, take

__all__ = ["ExcerptError", "Limits", "OnPicture", "OpenVideo", "Taken", "VideoError", "take"]
