"""Rendering whole pairs, one or many: any input, exact times, and nothing lost."""

from maskanim.runtime.jobs.batch import RenderOne, Summary, make_folders, render_all, render_unless_there, summarize
from maskanim.runtime.jobs.driving import Inputs
from maskanim.runtime.jobs.interrupts import Interrupts
from maskanim.runtime.jobs.pairs import Pair, Places, cross, read_pairs, several, single
from maskanim.runtime.jobs.render import Rendered, open_inputs, render
from maskanim.runtime.jobs.settings import Extras, Job, RenderSettings

__all__ = [
    "Extras",
    "Inputs",
    "Interrupts",
    "Job",
    "Pair",
    "Places",
    "RenderOne",
    "RenderSettings",
    "Rendered",
    "Summary",
    "cross",
    "make_folders",
    "open_inputs",
    "read_pairs",
    "render",
    "render_all",
    "render_unless_there",
    "several",
    "single",
    "summarize",
]
