"""Our checkpoints; the file's format is shared with export and lives in `maskanim.checkpoint`."""

from maskanim.checkpoint import FORMAT, VERSION, Checkpoint, load_own

__all__ = ["FORMAT", "VERSION", "Checkpoint", "load_own"]
