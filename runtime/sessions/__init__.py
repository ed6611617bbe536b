"""Backends on the processor, behind one small interface to every inference library."""
