from operators.segment.settings import SegmentSettings as SegmentSettings
from operators.segment.stream import Stream as Stream
from operators.segment.stream import StreamedEvent as StreamedEvent
