"""Where data lies: fsspec storage, input manifests, the output manifest and the record of a run.

May import fsspec and pyarrow. An input format is one line in `reading.READERS`.
"""
