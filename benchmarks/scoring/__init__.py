"""The paper's quality benchmark (section 4), for models of ours and for any method's finished videos.

`protocols` says which videos are held against which; `engine` reads them side by side; `perception` and `observers` see
key-points, masks, identities and expressions in them, through the networks of `nets`; `metrics` judge what was seen;
`results` adds it up; `report` shows it.
"""
