"""Where the videos come from: a model that rebuilds or animates clips, finished videos, or strips of columns."""
