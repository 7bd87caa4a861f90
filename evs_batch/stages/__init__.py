"""What a worker does for each stage of a clip; no Ray, so the same code runs in a process of one.

May import models, media, store and algo. A stage takes the items of a call and their artifacts as numpy arrays and
returns the artifacts that it gives. A new role is a file with `load` and one line in `worker.ROLES`.
"""
