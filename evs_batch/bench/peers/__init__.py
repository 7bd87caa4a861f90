"""Other ways to run the same stages on the same workers: real Ray actors whose kernels sleep.

`work.py` holds the work and its kernels, `ours.py` and the files beside it one system each, `compare.py` the runs. The
peers are an optional extra: `pip install 'evs-batch[peers]'`.
"""
