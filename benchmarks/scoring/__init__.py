"""The paper's quality benchmark (section 4), for models of ours and for any method's finished videos.

`videos` says which videos are held against which; `engine` reads them side by side and `metrics` judge what the judges
see in them; `results` adds it up; `report` and `page` show it.
"""
