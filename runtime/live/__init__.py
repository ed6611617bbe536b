"""Live animation: the freshest frame of a camera, animated and shown at once, with its latency measured."""

from maskanim.runtime.live.loop import LiveReport, go_live
from maskanim.runtime.live.outputs import FileOutput, Output, VirtualCamera
from maskanim.runtime.live.page import Page

__all__ = ["FileOutput", "LiveReport", "Output", "Page", "VirtualCamera", "go_live"]
